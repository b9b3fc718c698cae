"""The page in a browser: mouse, keyboard, filters, print, no requests."""

import base64
import io
import json
import time

import numpy as np
import pytest
from msgspec.structs import asdict
from PIL import Image

from reports.page import About, Cell, Column, Figure, Row, Section, write_page
from reports.page.adapter import finished_run, table_section
from reports.shipped_record import ShippedRecord
from reports.tables import build_tables, summary_tables
from tests.conftest import DEADLINE
from tests.reports.made import made_grid
from tests.reports.made_page import HOSTILE, made_page

pytest.importorskip("selenium", reason="selenium drives the browser: requirements-dev.txt")

from selenium.webdriver.common.keys import Keys

from tests.reports.browser import BROWSER, DRIVER, opened

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (BROWSER and DRIVER), reason="needs chromium and chromedriver (Debian: chromium-driver)"),
]
ROOT = "document.documentElement"


@pytest.fixture
def page(tmp_path):
    with opened(tmp_path / "profile") as page:
        yield page


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(path, *made_page(("SimCLR", "BYOL", "SDCLR", "TASE-R"), presets=("cpu", "paper")))
    return path


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    path = tmp_path_factory.mktemp("hostile") / "report.html"
    sections, *others = made_page([*HOSTILE, "l" * 200], datasets=HOSTILE[:2], probes=HOSTILE[2:4])
    write_page(path, sections, *others)
    return path


def test_the_page_opens_without_errors_and_requests(page, file):
    page.show(file)
    page.all("button.method")[0].click()
    assert page.complaints() == []
    messages = [json.loads(line["message"])["message"] for line in page.driver.get_log("performance")]
    sent = [m["params"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    urls = [one["request"]["url"] for one in sent if one["documentURL"] == file.as_uri()]  # not the browser's own first tab
    assert [url for url in urls if not url.startswith("data:")] == [file.as_uri()]
    assert page.do("return performance.getEntriesByType('resource').length") == 0
    # and could not: the policy holds
    page.do("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/x.png'}))")
    deadline = time.monotonic() + DEADLINE
    while not (complaints := page.complaints()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "Content Security Policy" in complaints[0]


def test_a_click_or_a_key_sorts_with_missing_values_last(page, file):
    page.show(file)
    given = page.methods()
    header = page.all("article.table th[scope=col]")[1]  # Many: of the last method there is none
    button = header.find_element("css selector", "button")
    assert page.column(1)[-1] == "failed"
    for direction, sign in (("descending", -1), ("ascending", 1)):
        button.click() if sign < 0 else page.press(Keys.SPACE)
        assert header.get_attribute("aria-sort") == direction
        *numbers, last = page.column(1)
        assert last == "failed"
        assert [float(n) for n in numbers] == sorted(map(float, numbers), key=lambda n: sign * n)
        assert [float(n) for n in numbers] != [float(n) for n in reversed(numbers)]
    page.press(Keys.ENTER)
    assert header.get_attribute("aria-sort") is None
    assert page.methods() == given
    page.all("article.table th[scope=col] button")[0].click()
    assert page.methods() == ["BYOL", "SDCLR", "SimCLR", "TASE-R"]
    page.all("article.table th[scope=col] button")[5].click()  # lower is better
    assert page.all("article.table th[aria-sort]")[0].get_attribute("aria-sort") == "ascending"
    assert page.all("article.table th[aria-sort]")[0].text.startswith("Gap")
    assert len(page.all("[aria-sort]")) == 1  # other tables stay as they are


def test_filters_and_their_links(page, file):
    page.show(file)
    assert page.status() == "8 of 8 tables, 4 of 4 figures shown"
    page.choose("dataset", "cifar100lt")
    page.choose("preset", "cpu")
    assert page.status() == "2 of 8 tables, 1 of 4 figures shown"
    page.choose("probe", "knn")
    assert page.status() == "1 of 8 tables, 1 of 4 figures shown"  # a figure is of no probe, so it stays
    page.choose("method", "clr")
    assert page.methods(5) == ["SimCLR", "SDCLR"]
    (note,) = (note for note in page.all(".narrowed") if note.is_displayed())
    assert note.text == "2 of 4 rows shown, filter “clr”"
    assert [h.text for h in page.all("main h2") if h.is_displayed()] == ["cifar100lt", "Unfinished and failed runs"]
    links = [a.text for a in page.all("nav ul ul a") if a.is_displayed()]
    assert links == ["Test accuracy in %, probe knn · knn · cpu", "Accuracy by class · cpu"]

    link = page.do("return location.hash")
    assert link == "#dataset=cifar100lt&probe=knn&preset=cpu&method=clr"
    page.show(file, link)
    assert page.status() == "1 of 8 tables, 1 of 4 figures shown"
    assert page.methods(5) == ["SimCLR", "SDCLR"]
    page.choose("method", "nothing is called this")
    assert page.status() == "0 of 8 tables, 1 of 4 figures shown"
    page.all("[name=reset]")[0].click()
    assert page.status() == "8 of 8 tables, 4 of 4 figures shown"

    page.show(file, "#dataset=gone&preset=paper")  # a link to what the page no longer has
    assert page.status() == "4 of 8 tables, 2 of 4 figures shown"
    page.show(file, "#table-cifar100lt-cpu-knn")  # an address within the page is not a view
    assert page.status() == "8 of 8 tables, 4 of 4 figures shown"
    assert page.do("return scrollY") > 500


def test_rows_of_probes_pass_the_method_filter(page, tmp_path):
    section = Section(name="n", dataset="d", title="t", head="Probe", columns=[], rows=[Row("ridge", [])])
    write_page(tmp_path / "report.html", [section], [], [], About("a"))
    page.show(tmp_path / "report.html", "#method=simclr")
    assert page.methods() == ["ridge"]


def test_contents_links_keep_the_filters(page, file):
    page.show(file, "#preset=paper")
    page.do("document.querySelector('nav a[href=\"#table-cifar100lt-paper-knn\"]').click()")
    table = "document.getElementById('table-cifar100lt-paper-knn').getBoundingClientRect()"
    top = page.do(f"return {table}.top")
    bar = page.do("return document.querySelector('.controls').getBoundingClientRect().bottom")
    assert bar <= top < 200
    assert page.do("return location.hash") == "#preset=paper&at=table-cifar100lt-paper-knn"
    page.show(file, page.do("return location.hash"))
    assert page.do(f"return {table}.top") == top


def test_keys_open_and_close_the_runs_of_a_method(page, file):
    page.show(file)
    page.press(Keys.TAB)
    assert page.driver.switch_to.active_element.text == "Skip to the results"
    assert page.driver.switch_to.active_element.rect["y"] >= 0  # seen once it has the focus
    page.press(Keys.ENTER)
    for _ in range(9):  # the headers of seven columns, and two methods
        page.press(Keys.TAB)
    button = page.driver.switch_to.active_element
    assert button.text == "BYOL"
    assert page.do("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.press(Keys.ENTER)
    assert page.all("#panel-title")[0].text.split("\n")[0].startswith("BYOL")
    assert page.do("return document.activeElement.id") == "close"
    assert [s.text.split("\n")[0] for s in page.all("#panel-body summary")] == ["split 1, seed 0", "split 1, seed 1"]
    assert "All 56.1" in page.all("#panel-body summary")[0].text  # of the table's own probe
    page.press(Keys.TAB, Keys.ENTER)
    assert page.do("return document.querySelector('#panel-body details').open")
    shown = page.runs()[0]
    told = ("cifar10lt-cpu-1-0", "5 min 12 s on cpu", "ridge", "62.0", "loss", "200 lines", '"epochs": 34', "class 9: 500")
    for part in told:
        assert part in shown
    page.press(Keys.ESCAPE)
    assert not page.all("#panel")[0].is_displayed()
    assert page.driver.switch_to.active_element == button

    page.all("button.method")[0].click()  # of a run that failed
    assert "no space left on the disk" in page.runs()[0]
    assert "unfinished" in page.all("#panel-body summary")[1].text
    page.all("#close")[0].click()
    assert not page.all("#panel")[0].is_displayed()


def test_names_with_markup_stay_text_after_clicks(page, hostile):
    page.show(hostile)
    assert page.methods()[: len(HOSTILE)] == HOSTILE
    for button in page.all("article.table button.method")[: len(HOSTILE) + 1]:
        page.do("arguments[0].click()", button)
        name = button.get_attribute("textContent")
        assert page.do("return document.querySelector('#panel-title bdi').textContent") == name
        page.runs()
        page.do("document.getElementById('panel').close()")
    page.choose("dataset", HOSTILE[1])
    page.choose("method", HOSTILE[0])
    page.do("for (const b of document.querySelectorAll('button.sort')) b.click()")
    assert page.status() == "2 of 4 tables, 1 of 2 figures shown"
    link = page.do("return location.hash")
    page.show(hostile, link)
    assert page.status() == "2 of 4 tables, 1 of 2 figures shown"
    assert page.all("img:not(.art > img), iframe, main b b, main script") == []
    assert page.complaints() == []


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_window(page, file, hostile, width):
    for one in (file, hostile):
        page.show(one, width=width)
        assert page.do(f"return [innerWidth, {ROOT}.scrollWidth - {ROOT}.clientWidth]") == [width, 0]
        page.do("document.querySelector('button.method').click()")
        page.runs()
        assert page.do("const p = document.getElementById('panel'); return p.scrollWidth - p.clientWidth") == 0
        page.do("document.getElementById('panel').close()")


def test_the_method_column_is_sticky_on_a_phone(page, file):
    page.show(file, width=360)
    box = "document.querySelector('.scroll')"
    page.do(f"{box}.scrollLeft = 100")
    assert page.do(f"return {box}.scrollLeft") == 100
    left = "document.querySelector('tbody th').getBoundingClientRect().left"
    assert page.do(f"return {left} - {box}.getBoundingClientRect().left") == 0


@pytest.mark.parametrize("width", [390, 360])
@pytest.mark.parametrize("group", ["long-tail", ""])
def test_a_phone_shows_few_of_every_lead_table_without_scrolling(page, tmp_path, width, group):
    records = list(made_grid(["simclr", "sdclr", "bcl"], splits=2, seeds=1, probes=("ridge",)))
    accuracies = build_tables(records, lambda record: f"{record.method.upper()} (temperature=0.2)", group=lambda method: group)
    tables = [*summary_tables(accuracies), *(table.table() for table in accuracies)]
    runs = [finished_run(None, [record], lambda record: record.method) for record in records]
    write_page(tmp_path / "report.html", [table_section(table) for table in tables], [], runs, About("a"))
    page.show(tmp_path / "report.html", width=width)
    heads = [
        [head.text for head in table.find_elements("css selector", "th[scope=col]")] for table in page.all("article.table")
    ]
    assert [("Few" in found, "Group" in found) for found in heads] == [(True, False), (True, group != "")]
    for table in page.all("article.table"):
        (few,) = [head for head in table.find_elements("css selector", "th[scope=col]") if head.text == "Few"]
        assert 0 <= few.rect["x"] < few.rect["x"] + few.rect["width"] <= width
        numbers = page.do(
            "const [table, few] = arguments; return [...table.tBodies[0].rows].flatMap((row) => "
            "[...row.cells[few.cellIndex].children].map((part) => part.getBoundingClientRect().right))",
            *(table.find_element("css selector", "table"), few),
        )
        assert len(numbers) == (3 if "Verdict" in table.text else 6)  # mean, and std except in the summary
        assert max(numbers) <= width


NAMES = {
    "simclr": "SimCLR",
    "sdclr": "SDCLR+COLT (pool=emoji)",
    "tase": "TASE-R (clusterer=oracle) [true labels]",
    "byol": "MoCo v2+rwSAM",
}
LINES = "new Set([...value.getClientRects()].map((rect) => Math.round(rect.bottom))).size"
BREAKS = """
const found = [];
for (const name of document.querySelectorAll("article.table tbody .method")) {
  const walker = document.createTreeWalker(name, NodeFilter.SHOW_TEXT);
  let last = null;
  for (let node = walker.nextNode(); node; node = walker.nextNode())
    for (let at = 0; at < node.length; at++) {
      const range = document.createRange();
      range.setStart(node, at);
      range.setEnd(node, at + 1);
      const [rect] = [...range.getClientRects()].filter((r) => r.width);
      if (rect && last && rect.top > last.top + 4) found.push(last.text + node.data[at]);
      if (rect) last = { top: rect.top, text: node.data[at] };
      else if (last) last.text = node.data[at];
    }
}
return found
"""


@pytest.fixture(scope="module")
def beside_shipped(tmp_path_factory):
    """The page of four methods, two of them shipped, with five splits."""
    records = list(made_grid(list(NAMES), splits=5, seeds=1, probes=("ridge",)))
    records = [
        ShippedRecord(**asdict(r) | {"true_labels": r.method == "tase"}, trained_in="bf16")
        if r.method in ("tase", "byol")
        else r
        for r in records
    ]

    def title(record):
        return NAMES[record.method] + (" [shipped]" if isinstance(record, ShippedRecord) else "")

    accuracies = build_tables(records, title, group=lambda method: "long-tail")
    tables = [*summary_tables(accuracies, title), *(table.table() for table in accuracies)]
    path = tmp_path_factory.mktemp("shipped") / "report.html"
    runs = [finished_run(None, [r], lambda record: record.method) for r in records if not isinstance(r, ShippedRecord)]
    write_page(path, [table_section(table) for table in tables], [], runs, About("a"))
    return path


def test_lead_tables_and_their_captions_fit_a_small_window(page, beside_shipped):
    page.show(beside_shipped, width=1200)
    boxes = "[...document.querySelectorAll('article.table .scroll')]"
    assert page.do(f"return {boxes}.map((box) => box.scrollWidth - box.clientWidth)") == [0, 0]
    lines = "e.getBoundingClientRect().height / parseFloat(getComputedStyle(e).lineHeight)"
    found = page.do(f"return [...document.querySelectorAll('[id$=-caption]')].map((e) => Math.round({lines}))")
    assert len(found) == 2
    assert max(found) <= 3
    values = "[...document.querySelectorAll('td.text .value')]"
    assert page.do(f"return {values}.filter((value) => {LINES} > 1).map((value) => value.textContent)") == []


@pytest.mark.parametrize("width", [390, 1200])
def test_method_names_break_at_spaces_plus_signs_and_parentheses_only(page, beside_shipped, width):
    page.show(beside_shipped, width=width)
    found = page.do(BREAKS)
    assert bool(found) or width > 390
    assert all(pair[0] in " +" or pair[1] == "(" for pair in found), found


def test_a_phone_shows_few_its_difference_and_the_verdict_without_scrolling(page, beside_shipped):
    page.show(beside_shipped, width=390)
    heads = page.all("article.table:first-of-type th[scope=col]")[:4]
    assert [head.text.replace("\n", " ") for head in heads] == ["Method", "Few", "Few − SimCLR", "Verdict"]
    assert heads[-1].rect["x"] + heads[-1].rect["width"] <= 390
    intervals = "[...document.querySelectorAll('td.interval .whole:last-child')]"
    assert page.do(f"return {intervals}.filter((value) => {LINES} > 1).length") == 0


def test_the_rules_of_a_table_are_not_hidden_by_its_first_column(page, beside_shipped):
    page.show(beside_shipped, width=1200)
    page.do("document.querySelector('.body').style.paddingTop = '20.5px'")
    for table in page.all("article.table table"):
        box = page.do("const b = arguments[0].getBoundingClientRect(); return [b.left, b.top + scrollY, b.height]", table)
        clip = {"x": box[0], "y": box[1] - 2, "width": 300, "height": box[2] + 4, "scale": 1}
        shot = page.driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        with Image.open(io.BytesIO(base64.b64decode(shot["data"]))) as picture:
            grey = np.asarray(picture.convert("L")).astype(int)
        first, last = grey[:, 1], grey[:, -1]  # left of all text, and between two columns or below the hidden rest
        darkest = [part.min() for part in (first[:6], first[-6:])]
        assert max(darkest) < 160, darkest
        assert abs(first[:6] - last[:6]).max() < 30


def test_print_has_every_table_and_no_controls(page, file):
    page.show(file, "#dataset=cifar10lt&preset=cpu&method=byol", scheme="dark")
    assert sum(table.is_displayed() for table in page.all("article.table")) == 2
    page.do(f"{ROOT}.dataset.theme = 'dark'")
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert sum(table.is_displayed() for table in page.all("article.table")) == 8
    assert sum(figure.is_displayed() for figure in page.all("figure")) == 4
    assert all(row.is_displayed() for row in page.all("tbody tr"))
    assert not any(one.is_displayed() for one in page.all(".controls, nav, .skip, dialog, .narrowed"))
    assert page.do(f"return getComputedStyle({ROOT}).colorScheme") == "light"
    assert page.do("return getComputedStyle(document.querySelector('td')).color") == "rgb(29, 28, 26)"
    assert page.do("return getComputedStyle(document.querySelector('article')).breakInside") == "avoid"
    pdf = base64.b64decode(page.driver.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert pdf.startswith(b"%PDF")


def test_the_theme_follows_the_system_until_it_is_chosen(page, file):
    ground = "return getComputedStyle(document.body).backgroundColor"
    page.show(file, scheme="light")
    light = page.do(ground)
    page.show(file, scheme="dark")
    dark = page.do(ground)
    assert light != dark
    toggle = page.all("#theme")[0]
    assert toggle.get_attribute("aria-pressed") == "true"
    toggle.click()
    assert page.do(ground) == light
    page.show(file, scheme="dark")
    assert page.do(ground) == light  # remembered
    assert page.all("#theme")[0].get_attribute("aria-pressed") == "false"


def test_further_tables_and_figures_are_behind_a_toggle_that_links_and_filters_open(page, tmp_path):
    columns, row = [Column("All")], Row("SimCLR", [Cell("1.0", 1.0)])
    sections = [
        Section(name=name, dataset="d", probe=probe, title=name, columns=columns, rows=[row], lead=lead)
        for name, probe, lead in (("summary", "ridge", True), ("other", "knn", False))
    ]
    write_page(tmp_path / "report.html", sections, [], [], About("a"))

    def shown():
        return [table.is_displayed() for table in page.all("article.table")]

    page.show(tmp_path / "report.html")
    assert shown() == [True, False]
    assert page.all("details.others > summary")[0].text == "1 further table and 0 figures"
    page.all("nav a")[2].click()
    assert shown() == [True, True]
    page.show(tmp_path / "report.html", "#probe=knn")
    assert shown() == [False, True]


def test_tables_and_figures_are_there_without_scripts(page, file):
    page.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    page.show(file)
    assert sum(table.is_displayed() for table in page.all("article.table")) == 8
    assert not any(figure.is_displayed() for figure in page.all("figure img"))
    for summary in page.all("details.others > summary"):
        summary.click()
    assert sum(figure.is_displayed() for figure in page.all("figure img")) == 4
    assert page.all("article.table tbody tr")[0].text.startswith("SimCLR")
    assert not any(one.is_displayed() for one in page.all(".controls, button"))


def test_scripts_in_a_figure_do_not_run(page, tmp_path):
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" width="400pt" height="10pt" onload="document.title = 1">'
        '<script>document.title = 1; parent.document.title = 1</script><image href="http://127.0.0.1:9/x.png"/></svg>'
    )
    write_page(tmp_path / "report.html", [], [Figure(name="f", dataset="d", title="t", svg=svg)], [], About("a"))
    page.show(tmp_path / "report.html")
    assert page.do("const i = document.querySelector('figure img'); return [i.complete, i.naturalWidth > 0]") == [True, True]
    assert page.driver.title == "a"
    messages = [json.loads(line["message"])["message"] for line in page.driver.get_log("performance")]
    assert not [m for m in messages if m["method"] == "Network.requestWillBeSent" and ":9/" in m["params"]["request"]["url"]]
