"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (id) => document.getElementById(id);
// strings are inserted as text nodes, never parsed as HTML
const make = (tag, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
};
const plural = (number, thing) => `${number} ${thing}${number === 1 ? "" : "s"}`;

// ---- theme
const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
const showTheme = () => one("theme").setAttribute("aria-pressed", isDark());
one("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  try { localStorage.setItem("theme", document.documentElement.dataset.theme); } catch { /* see head.js */ }
  showTheme();
});
dark.addEventListener("change", showTheme);
showTheme();

// ---- sorting: first click best first, second click reversed, third click original order
const collator = new Intl.Collator(undefined, { numeric: true });
const opposite = { ascending: "descending", descending: "ascending" };

const sortRows = (rows, place, direction) => {
  const cells = rows.map((row) => row.cells[place]);
  const numeric = cells.some((cell) => "value" in cell.dataset);
  const key = (cell) => (numeric ? Number(cell.dataset.value ?? NaN) : cell.classList.contains("empty") ? NaN : cell.textContent.trim());
  const keyed = rows.map((row, order) => ({ row, order, key: key(cells[order]) }));
  const sign = direction === "ascending" ? 1 : -1;
  const compare = numeric ? (a, b) => a - b : collator.compare;
  keyed.sort((a, b) => {
    const [noA, noB] = [Number.isNaN(a.key), Number.isNaN(b.key)]; // missing values last in both directions
    return noA - noB || (noA ? 0 : sign * compare(a.key, b.key)) || a.order - b.order;
  });
  return keyed.map(({ row }) => row);
};

for (const table of all("main table")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const headers = [...[...table.tHead.rows].at(-1).cells]; // the row above may hold group headings
  headers.forEach((header, place) => {
    header.prepend(make("button", { type: "button", className: "sort" }, header.firstChild));
    header.firstChild.addEventListener("click", () => {
      const first = header.dataset.first ?? (rows.some((row) => "value" in row.cells[place].dataset) ? "descending" : "ascending");
      const now = header.getAttribute("aria-sort");
      const next = !now ? first : now === first ? opposite[first] : null;
      for (const other of headers) other.removeAttribute("aria-sort");
      if (next) header.setAttribute("aria-sort", next);
      body.append(...(next ? sortRows(rows, place, next) : rows));
    });
  });
}

// ---- filters, stored in the URL so that a view can be linked
const controls = document.querySelector(".controls");
const selects = all("select", controls);
const method = controls.elements.namedItem("method");
const links = new Map(all("nav a").map((link) => [link.hash.slice(1), link.closest("li")]));
const items = all("article.table, figure").map((item) => ({
  item,
  figure: item.tagName === "FIGURE",
  // the method filter applies only to rows of methods
  rows: all(item.dataset.of === "methods" ? "tbody tr" : ":not(*)", item).map((row) => ({ row, name: row.querySelector(".method").textContent.toLowerCase() })),
}));
let place = ""; // target of the last contents link
const show = (id) => {
  const fold = one(id)?.closest("details.others");
  if (fold) fold.open = true;
  one(id)?.scrollIntoView();
};

const applyFilters = () => {
  const wanted = selects.filter((select) => select.value);
  const text = method.value.trim().toLowerCase();
  const shown = { table: 0, figure: 0 };
  const total = { table: 0, figure: 0 };
  for (const { item, figure, rows } of items) {
    const kept = rows.filter(({ row, name }) => {
      row.classList.toggle("away", !name.includes(text));
      return name.includes(text);
    });
    // an item without a value passes the filter
    const fits = wanted.every(({ name, value }) => !item.dataset[name] || item.dataset[name] === value);
    const visible = fits && (!rows.length || !text || kept.length > 0);
    item.classList.toggle("away", !visible);
    links.get(item.id)?.classList.toggle("away", !visible);
    shown[figure ? "figure" : "table"] += visible;
    total[figure ? "figure" : "table"] += 1;
    const note = item.querySelector(".narrowed");
    if (note) note.hidden = kept.length === rows.length;
    if (note) note.textContent = `${kept.length} of ${plural(rows.length, "row")} shown, filter “${method.value.trim()}”`;
  }
  if (wanted.length || text) for (const fold of all("details.others")) fold.open = true;
  for (const group of all("main .group")) {
    const inside = all("article.table, figure", group);
    const away = inside.length > 0 && inside.every((item) => item.classList.contains("away"));
    group.classList.toggle("away", away);
    links.get(group.querySelector("h2").id)?.classList.toggle("away", away);
  }
  const count = (thing) => `${shown[thing]} of ${plural(total[thing], thing)}`;
  controls.querySelector("[role=status]").textContent =
    [...Object.keys(total)].filter((thing) => total[thing]).map(count).join(", ") + " shown";
  controls.elements.namedItem("reset").disabled = !wanted.length && !text;
};

const saveView = () => {
  const view = new URLSearchParams();
  for (const { name, value } of [...selects, method]) if (value) view.set(name, value);
  if (place) view.set("at", place);
  history.replaceState(null, "", `#${view}`);
};

const restoreView = () => {
  const hash = location.hash.slice(1);
  if (hash && !hash.includes("=")) return; // an anchor, not a view
  const view = new URLSearchParams(hash);
  for (const select of selects) {
    const value = view.get(select.name) ?? "";
    select.value = [...select.options].some((option) => option.value === value) ? value : "";
  }
  method.value = view.get("method") ?? "";
  place = view.get("at") ?? "";
  applyFilters();
  if (place) show(place);
};

controls.addEventListener("input", () => { applyFilters(); saveView(); });
controls.addEventListener("reset", () => setTimeout(() => { place = ""; applyFilters(); saveView(); }));
controls.addEventListener("submit", (event) => event.preventDefault());
document.querySelector("nav").addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (!link) return;
  event.preventDefault();
  place = link.hash.slice(1);
  show(place);
  saveView();
});
addEventListener("hashchange", restoreView);
controls.hidden = false;
applyFilters();
restoreView();
if (matchMedia("(max-width: 70rem)").matches) document.querySelector("nav details").open = false;
