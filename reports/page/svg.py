"""SVG files made fit to stand in one HTML page: ids of their own, styles that stay inside, nothing that runs or loads."""

import re
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from core.errors import UserError

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
SHAPES = {"svg", "g", "defs", "use", "symbol", "path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "image"}
WORDS = {"text", "tspan", "textPath"}
PAINT = {"style", "clipPath", "mask", "marker", "pattern", "linearGradient", "radialGradient", "stop"}
WIDE = 360  # points: beyond it a figure takes the width of two columns
DRAWN = SHAPES | WORDS | PAINT  # all else is left out
REFERENCE = re.compile(r"""url\(\s*(['"]?)#(.*?)\1\s*\)""")
RULE = re.compile(r"([^{}@]+)\{([^{}]*)\}")
PICTURE = re.compile(r"data:image/(png|jpeg);base64,", re.IGNORECASE)


def inline_svg(svg: str, prefix: str, alt: str) -> str:
    """The svg element alone, for a page in which other SVGs have the same ids.

    Args:
        svg: text of an SVG file.
        prefix: goes before every id, and is the id of the element; letters, digits and hyphens.
        alt: what the picture shows, for those who do not see it.

    Raises UserError if it is not an SVG.
    """
    try:
        root = ElementTree.fromstring(svg.encode())
    except ElementTree.ParseError as error:
        raise UserError(f"figure {prefix} is no SVG file ({error}); draw it again") from error
    if root.tag != f"{{{SVG}}}svg":
        raise UserError(f"figure {prefix} is no SVG file (it begins with {root.tag!r}); draw it again")
    _clean(root, prefix)
    _size(root)
    root.attrib |= {"id": prefix, "role": "img", "aria-label": alt}
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    return ElementTree.tostring(root, encoding="unicode")


def _clean(element: Element, prefix: str) -> None:
    for child in list(element):
        namespace, _, name = str(child.tag)[1:].rpartition("}")
        if namespace == SVG and name in DRAWN:
            _clean(child, prefix)
        else:  # metadata, comments, and whatever could run
            element.remove(child)
    if element.tag == f"{{{SVG}}}style":
        element.text = _scoped(element.text or "", prefix)
    for name, value in list(element.attrib.items()):
        bare = name.rpartition("}")[2].lower()
        value = REFERENCE.sub(rf"url(#{prefix}-\2)", value)
        if bare == "id":
            value = f"{prefix}-{value}"
        elif bare == "href" and value.startswith("#"):
            value = f"#{prefix}-{value[1:]}"
        if bare.startswith("on") or (bare == "href" and not (value.startswith("#") or PICTURE.match(value))) or _loads(value):
            del element.attrib[name]
        else:
            element.set(name, value)


def _scoped(style: str, prefix: str) -> str:
    """Rules that hold for the whole page in HTML, such as Matplotlib's `*{...}`, made to hold for this picture alone."""
    rules = []
    for selectors, body in RULE.findall(re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)):
        body = REFERENCE.sub(rf"url(#{prefix}-\2)", body)
        if not _loads(body):
            inside = ",".join(f"#{prefix} {one.strip().replace('#', f'#{prefix}-')}" for one in selectors.split(","))
            rules.append(f"{inside}{{{body.strip()}}}")
    return "".join(rules)


def _loads(value: str) -> bool:
    """Whether a style or an attribute names something outside of the page."""
    return re.search(r"(url|image-set|image)\(", REFERENCE.sub("", value)) is not None or "@import" in value


def _size(root: Element) -> None:
    """Lets the height follow the width, which the page may narrow."""
    width, height = (_number(root.get(side, "")) for side in ("width", "height"))
    if width and float(width) > WIDE:
        root.set("class", "wide")
    if "viewBox" not in root.attrib and width and height:
        root.set("viewBox", f"0 0 {width} {height}")
    root.attrib.pop("height", None)


def _number(length: str) -> str:
    """Of `460.8pt`, the 460.8; empty for per cent and the like."""
    found = re.fullmatch(r"\s*([\d.]+)\s*(px|pt)?\s*", length)
    return found[1] if found else ""
