"""The HTML of the page: escaping, completeness, size."""

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest

from reports.page import About, Cell, Column, Figure, Log, Row, Run, Section, render_page, write_page
from reports.page.render import HERE
from reports.page.run_data import MAX_TEXT, POINTS, runs_json, subsample
from tests.reports.made_page import HOSTILE, made_page, made_svg


class Elements(HTMLParser):
    """Names of all start tags, with their attributes; the contents of scripts are skipped."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def elements(page):
    return Elements(page).found


def run_data(page):
    return json.loads(re.search(r'id="runs-data">(.*?)</script>', page, re.DOTALL)[1])


@pytest.fixture(scope="module")
def svg():
    return made_svg()


def everywhere(text, svg):
    """A page on which every text is this one."""
    section = Section(
        name=text,
        dataset=text,
        variant=text,
        probe=text,
        preset=text,
        title=text,
        caption=text,
        details=text,
        scale=text,
        head=text,
        columns=[Column(text, text)],
        rows=[Row(text, [Cell(text, 1.0, text, note=text)], [text])],
    )
    other = Section(name="", dataset="d", variant="p", probe="q", preset="r", title="t", columns=[], rows=[])
    figure = Figure(name=text, dataset=text, variant=text, title=text, caption=text, details=text, svg=svg)
    run = Run(
        id=text,
        method=text,
        dataset=text,
        variant=text,
        split=1,
        seed=0,
        status="failed",
        facts={text: text},
        results={text: {text: text}},
        log=Log(1, [text], {text: [1.0]}),
        config=text,
        passport=text,
        error=text,
    )
    return render_page([section, other], [figure], [run], About(text, {text: text}))


@pytest.mark.parametrize("hostile", HOSTILE)
def test_markup_is_escaped_everywhere(svg, hostile):
    page = everywhere(hostile, svg)

    def skeleton(text):
        found = [(tag, attributes) for tag, attributes in elements(text) if tag != "wbr" and attributes.get("class") != "whole"]
        return [(tag, sorted(attributes)) for tag, attributes in found]

    assert skeleton(page) == skeleton(everywhere("plain", svg))
    options = [attributes.get("value") for tag, attributes in elements(page) if tag == "option"]
    assert options == ["", hostile, "d", "", hostile, "p", "", hostile, "q", "", hostile, "r"]
    (run,) = run_data(page)
    assert run["results"] == {hostile: {hostile: hostile}}
    assert run["config"] == hostile.rstrip()


def test_the_page_refers_to_no_other_file(svg):
    page = render_page(*made_page(svg=svg))
    assert set(re.findall(r"\w+://[^\s\"'<)]+", page)) <= {"http://www.w3.org/2000/svg"}
    assert not [a for _, attributes in elements(page) for a in attributes if a in ("srcset", "action")]
    sources = [(tag, a["src"].partition(",")[0]) for tag, a in elements(page) if "src" in a]
    assert set(sources) == {("img", "data:image/svg+xml;base64")}
    assert {a["href"] for tag, a in elements(page) if tag == "link"} == {"data:,"}
    (policy,) = (a["content"] for tag, a in elements(page) if tag == "meta" and a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; script-src 'sha256-")


def test_all_content_is_in_the_html_without_scripts(svg):
    sections, figures, runs, about = made_page(methods=("SimCLR", "TASE-R", "SDCLR"), svg=svg)
    page = render_page(sections, figures, runs, about)
    plain = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    for section in sections:
        assert f"{section.title}</bdi></h3>" in plain
        for row in section.rows:
            for cell in row.cells:
                assert f'<span class="value">{cell.text}</span>' in plain if cell.text else True
    assert plain.count("<figure ") == len(figures) == 2
    assert plain.count('<strong class="scale">') == len(sections)  # the label stands at every table
    assert plain.count('<sup title="of the last epoch">') == len(sections)
    tables, stopped = plain.split('id="runs"')
    assert tables.count('<span class="state failed">failed</span>') == len(sections)
    assert tables.count('<span class="missing" title="no value">–</span>') == 3 * len(sections) - len(sections)
    assert stopped.count("<tr>") == 1 + 4
    assert "UserError: no space left on the disk" in stopped
    stopped_in_head = '<a class="unfinished" href="#runs">2 unfinished</a>, <a class="failed" href="#runs">2 failed</a>'
    assert f"<dd>8 done, {stopped_in_head}</dd>" in plain


def test_the_contents_name_what_tables_differ_in():
    one, other = (Section(name=n, dataset="d", title="t", preset="cpu", epochs=n, columns=[], rows=[]) for n in ("22", "34"))
    page = render_page([one, other], [], [], About("a"))
    assert re.findall(r"<bdi>(\d+ epochs)</bdi>", page) == ["22 epochs", "34 epochs"]


def test_a_table_without_rows_has_a_message():
    page = render_page([Section(name="n", dataset="d", title="t", columns=[], rows=[])], [], [], About("a"))
    assert "No results yet." in page
    assert "<select" not in page  # nothing to choose from


def test_ids_are_stable_and_distinct(svg):
    sections = [Section(name=name, dataset="d", title="t", columns=[], rows=[]) for name in ("a b", "a-b", "שם", "c")]
    ids = [a["id"] for tag, a in elements(render_page(sections, [], [], About("a"))) if tag == "article"]
    assert ids == ["table-a-b", "table-a-b-2", "table-", "table-c"]
    everything = [a["id"] for _, a in elements(render_page(*made_page(svg=svg))) if "id" in a]
    assert len(everything) == len(set(everything))


def test_group_headings_and_text_columns():
    columns = [Column("All", "ridge"), Column("Few", "ridge"), Column("n"), Column("Why", is_text=True)]
    row = Row("m", [Cell("1.0", 1.0, bold=True), Cell("2.0", 2.0), Cell("3", 3), Cell("so", bold=True)])
    page = render_page([Section(name="n", dataset="d", title="t", columns=columns, rows=[row])], [], [], About("a"))
    head = re.search(r"<thead>(.*?)</thead>", page, re.DOTALL)[1]
    assert '<td></td><th scope="colgroup" colspan="2"><bdi>ridge</bdi></th><td colspan="2"></td></tr>' in head
    assert head.count("<tr") == 2
    assert [a.get("class") for tag, a in elements(page) if tag == "td"][2:] == ["best", None, None, "best text"]
    assert [a.get("class") for tag, a in elements(head) if a.get("scope") == "col"] == [None, None, None, None, "text"]


def test_the_page_has_one_term_for_a_probe(svg):
    page = render_page(*made_page(svg=svg))
    assert "Probe <b>" in page
    assert "Protocol" not in page


def test_only_rows_of_methods_are_filtered_by_method():
    probes, methods = (Section(name="n", dataset="d", title="t", head=h, columns=[], rows=[]) for h in ("Probe", "Method"))
    probes, methods = (replace(one, rows=[Row("m", [])]) for one in (probes, methods))
    page = render_page([methods, probes], [], [], About("a"))
    assert page.count("<thead>\n<tr><th") == 2  # no row of groups where there are none
    assert [a.get("data-of") for tag, a in elements(page) if tag == "article"] == ["methods", None]
    assert '<th scope="col">Probe</th>' in page


def test_a_series_without_any_number_is_left_out():
    log = Log(3, [], {"loss": [math.nan, 1.0], "auroc": [math.nan, None]})
    (run,) = json.loads(runs_json([Run(id="1", method="m", dataset="d", split=1, seed=0, status="done", log=log)]))
    assert run["series"] == {"loss": [None, 1.0]}


def test_non_finite_numbers_have_no_sort_key():
    cells = [Cell("nan", math.nan), Cell("inf", math.inf), Cell("", None), Cell("1.0", 1.0)]
    section = Section(name="n", dataset="d", title="t", columns=[Column("c")] * 4, rows=[Row("m", cells)])
    values = [a.get("data-value") for tag, a in elements(render_page([section], [], [], About("a"))) if tag == "td"]
    assert values == [None, None, None, "1.0"]


def test_equal_footnotes_share_a_mark():
    rows = [Row(f"m{k}", [Cell("1", note=f"note {k % 30}")]) for k in range(60)]
    page = render_page([Section(name="n", dataset="d", title="t", columns=[Column("c")], rows=rows)], [], [], About("a"))
    notes = re.findall(r"<li><sup>(\w+)</sup> <bdi>(.*?)</bdi>", page)
    assert notes[25:28] == [
        ("z", "note 25"),
        ("aa", "note 26"),
        ("ab", "note 27"),
    ]
    assert page.count('<sup title="note 29">ad</sup>') == 2


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="m has 1 cells for 0 columns"):
        render_page([Section(name="n", dataset="d", title="t", columns=[], rows=[Row("m", [Cell()])])], [], [], About("a"))
    with pytest.raises(ValueError, match="refers to unknown runs: lost"):
        render_page([Section(name="n", dataset="d", title="t", columns=[], rows=[Row("m", [], ["lost"])])], [], [], About("a"))


def test_a_series_is_subsampled_evenly_with_both_ends():
    kept = subsample(list(range(2001)))
    assert len(kept) == POINTS
    assert kept[0] == 0
    assert kept[-1] == 2000
    assert {round(b - a) for a, b in pairwise(kept)} <= {33, 34}
    assert subsample([math.nan, 1.23456, math.inf, None]) == [None, 1.235, None, None]
    assert subsample([]) == []


def test_long_texts_are_truncated():
    shared = {"method": "m", "dataset": "d", "split": 1, "seed": 0, "status": "done"}
    (run,) = json.loads(runs_json([Run(id="1", **shared, error="x" * MAX_TEXT + "y\n", log=Log(9, ["z" * 5000]))]))
    assert run["error"].startswith("[the first 1 characters are left out]\nxxx")
    assert run["error"].endswith("xy")
    assert len(run["last"]) < 500
    assert "passport" not in run


def test_ten_thousand_records_make_a_page_of_a_few_megabytes(svg):
    page = made_page([f"m{k}" for k in range(10)], [f"d{k}" for k in range(4)], list("abcde"), ("cpu", "paper"), 25, svg)
    assert sum(len(set(run.results) - {"geometry"}) for run in page[2]) == 10_000
    assert len(render_page(*page)) < 4e6


def test_the_file_is_the_rendered_page(tmp_path, svg):
    page = made_page(svg=svg)
    write_page(tmp_path / "report.html", *page)
    assert (tmp_path / "report.html").read_text() == render_page(*page)
    about = About("half a surrogate pair \udcff, as in a path that is no UTF-8")
    write_page(tmp_path / "report.html", [], [], [], about)
    assert "half a surrogate pair ?" in (tmp_path / "report.html").read_text()


def test_text_colours_have_sufficient_contrast():
    style = (HERE / "style.css").read_text()
    pairs = dict(re.findall(r"--([\w-]+): light-dark\((#\w{6}, #\w{6})\)", style))
    colours = {name: pair.split(", ") for name, pair in pairs.items()}

    def luminance(colour):
        channels = (int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5))
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return np.dot((0.2126, 0.7152, 0.0722), linear)

    grounds = [(text, ground) for text in ("ink", "soft", "accent", "warn", "bad") for ground in ("ground", "raised", "wash")]
    for text, ground in [*grounds, ("warn", "warn-wash")]:
        for theme in (0, 1):
            dim, bright = sorted(luminance(colours[name][theme]) for name in (text, ground))
            assert (bright + 0.05) / (dim + 0.05) >= 4.5, (text, ground, theme)
