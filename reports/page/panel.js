// dialog with the runs of a method; uses `all`, `one`, `make` and `plural` of page.js
const panel = one("panel");
let data = null; // parsed on first use

const drawn = (tag, attributes, ...children) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};

const sparkline = (name, values) => {
  const finite = values.filter((value) => value !== null);
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  const x = (index) => 1 + (158 * index) / Math.max(1, values.length - 1);
  const y = (value) => 27 - (24 * (value - low)) / (high - low || 1);
  const points = values.flatMap((value, index) => (value === null ? [] : [`${x(index).toFixed(1)},${y(value).toFixed(1)}`]));
  const ends = [values[0], values[values.length - 1]].map((value) => value ?? "not finite");
  return make("p", { className: "course" }, make("span", {}, name.replaceAll("_", " ")),
    drawn("svg", { viewBox: "0 0 160 30", "aria-hidden": "true" }, drawn("polyline", { points: points.join(" ") })),
    make("span", {}, `${ends[0]} → ${ends[1]}`));
};

// one table for accuracies, one for geometry
const resultsTables = (results) => {
  const kinds = Object.groupBy(Object.entries(results), ([, values]) => JSON.stringify(Object.keys(values)));
  return Object.values(kinds).map(resultsTable);
};

const resultsTable = (results) => {
  const columns = Object.keys(results[0][1]);
  const line = (first, cells, tag) => make("tr", {}, first, ...cells.map((cell) => make(tag, {}, cell)));
  return make("div", { className: "scroll" }, make("table", {},
    make("thead", {}, line(make("th", { scope: "col" }, "Probe"), columns, "th")),
    make("tbody", {}, ...results.map(([probe, values]) =>
      line(make("th", { scope: "row" }, make("bdi", {}, probe)), columns.map((column) => values[column]), "td")))));
};

const details = (run) => {
  const box = make("div", { className: "run" });
  const facts = Object.entries({ benchmark: run.dataset, variant: run.variant, preset: run.preset, run: run.id, ...run.facts });
  box.append(make("dl", { className: "facts" }, ...facts.filter(([, value]) => value).map(([name, value]) =>
    make("div", {}, make("dt", {}, name), make("dd", {}, make("bdi", {}, value))))));
  const add = (title, ...content) => box.append(make("h4", {}, title), ...content);
  const block = (text) => make("pre", { tabIndex: 0 }, text);
  if (run.error !== undefined) add("Error", block(run.error));
  add("Results", ...(Object.keys(run.results).length ? resultsTables(run.results) : [make("p", { className: "none" }, "None yet.")]));
  const series = Object.entries(run.series).map(([name, values]) => sparkline(name, values));
  const kept = run.last === undefined ? 0 : run.last.split("\n").length;
  add("Log", ...series, make("p", { className: "none" }, run.log ? `The last of ${plural(run.log, "line")}:` : "No lines."));
  if (kept) box.append(block(run.last));
  if (run.config !== undefined) add("Configuration", block(run.config));
  if (run.passport !== undefined) add("Passport of the data", block(run.passport));
  return box;
};

const openPanel = (button) => {
  data ??= JSON.parse(one("runs-data").textContent);
  const probe = button.closest("article")?.dataset.probe;
  const runs = button.dataset.runs.split(" ").map((index) => data[index]);
  one("panel-title").replaceChildren(make("bdi", {}, button.textContent), make("small", {}, plural(runs.length, "run")));
  one("panel-body").replaceChildren(...runs.map((run) => {
    const [found] = Object.entries(run.results[probe] ?? {}); // the first value of the table's probe
    const entry = make("details", {}, make("summary", {}, `split ${run.split}, seed ${run.seed}`,
      make("span", { className: `state ${run.status}` }, run.status),
      make("span", { className: "found" }, found ? found.join(" ") : "")));
    entry.addEventListener("toggle", () => { if (entry.open && entry.children.length === 1) entry.append(details(run)); });
    entry.open = runs.length === 1;
    return entry;
  }));
  panel.showModal(); // Esc closes it, and returns the focus to the button
};

for (const name of all("main .method[data-runs]")) {
  const button = make("button", { type: "button", className: "method" });
  button.dataset.runs = name.dataset.runs;
  name.className = "";
  name.replaceWith(button);
  button.append(name);
  button.addEventListener("click", () => openPanel(button));
}
one("close").addEventListener("click", () => panel.close());
panel.addEventListener("click", (event) => { if (event.target === panel) panel.close(); });
