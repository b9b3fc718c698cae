"""Drawings in a page: no two clash, and nothing in them runs or loads."""

import re

import pytest

from core.errors import UserError
from reports.page import About, Figure, render_page
from reports.page.svg import inline_svg
from tests.reports.made_page import made_svg
from tests.reports.test_page import elements


def test_two_drawings_with_the_same_ids_do_not_clash():
    svg = made_svg()
    page = inline_svg(svg, "one", "first") + inline_svg(svg, "two", 'second "<b>')
    ids = [a["id"] for _, a in elements(page) if "id" in a]
    assert len(ids) == len(set(ids)) > 20
    named = re.findall(r"url\(#([^)]+)\)", page) + re.findall(r'href="#([^"]+)"', page)
    assert len(named) > 20
    assert set(named) <= set(ids)
    assert "metadata" not in page
    assert page.count("#one *{stroke-linejoin: round; stroke-linecap: butt}") == 1  # not for the page's own lines
    assert [a["aria-label"] for tag, a in elements(page) if tag == "svg"] == ["first", 'second "<b>']


def test_what_runs_or_loads_is_taken_out_of_drawings():
    hostile = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="10pt" height="5pt"
      onload="alert(1)"><script>alert(1)</script><foreignObject><b xmlns="http://www.w3.org/1999/xhtml">b</b></foreignObject>
      <style>@import url(x.css); rect{fill:url(http://x/y)} #a, .b{fill:url(#c)}</style><image href="http://x/y.png"/>
      <a href="javascript:alert(1)"><text>t</text></a><use xlink:href="http://x/y#z"/><image href="data:image/png;base64,AA=="/>
      <image href="data:image/svg+xml;base64,AA=="/><rect id="a" style="fill:url('http://x')" onclick="alert(1)"/>
      <set attributeName="onclick" to="alert(1)"/></svg>"""
    made = inline_svg(hostile, "p", "alt")
    assert [tag for tag, _ in elements(made)] == ["svg", "style", "image", "use", "image", "image", "rect"]
    assert "alert" not in made
    assert "//x" not in made
    assert made.count("data:image") == 1
    assert "#p #p-a,#p .b{fill:url(#p-c)}" in made
    assert 'viewBox="0 0 10 5"' in made


@pytest.mark.parametrize("broken", ["", "<svg", "<html/>", "<svg/>"])
def test_a_broken_drawing_is_named(broken):
    with pytest.raises(UserError, match=r"figure figure-f-svg is no SVG file .*; draw it again"):
        render_page([], [Figure(name="f", dataset="d", title="t", svg=broken)], [], About("a"))
