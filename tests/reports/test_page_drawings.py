"""Figures on the page: SVG files as image data URIs."""

import base64

import pytest

from core.errors import UserError
from reports.page import About, Figure, render_page
from tests.reports.made_page import made_svg
from tests.reports.test_page import elements


def images(*svgs, title="t"):
    page = render_page([], [Figure(name="f", dataset="d", title=title, svg=svg) for svg in svgs], [], About("a"))
    return [attributes for tag, attributes in elements(page) if tag == "img"]


def test_a_figure_is_an_image_with_the_whole_file_and_alternative_text():
    svg = made_svg()
    first, second = images(svg, svg, title='accuracy "<b>')
    assert first == second
    assert base64.b64decode(first["src"].removeprefix("data:image/svg+xml;base64,")).decode() == svg
    assert first["alt"] == 'accuracy "<b>'


@pytest.mark.parametrize(
    ("width", "wide"), [("504pt", True), ("361", True), ("360pt", False), ("100%", False), ("40em", False), ("", False)]
)
def test_only_a_wide_figure_spans_both_columns(width, wide):
    (image,) = images(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}"/>')
    assert image.get("class") == ("wide" if wide else None)


@pytest.mark.parametrize("broken", ["", "<svg", "<html/>", "<svg/>"])
def test_a_file_that_is_not_svg_is_refused(broken):
    with pytest.raises(UserError, match=r"figure-f is not an SVG file .*; run the report again"):
        images(broken)
