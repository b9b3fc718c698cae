"""Rendering of the page's content as HTML."""

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from xml.etree import ElementTree

import jinja2
from markupsafe import Markup

from core.errors import UserError
from core.files import remove_unfinished, write_text
from core.words import counted
from reports.page.content import METHOD, About, Figure, Row, Run, Section
from reports.page.run_data import runs_json

HERE = Path(__file__).parent
MAX_UNWRAPPED = 18  # characters; longer text cells are wrapped
MAX_WHOLE = 24  # characters; longer parts of a name are broken anywhere
MAX_SPACIOUS = 6  # columns; wider tables have less padding
# where names may be broken: at spaces outside square brackets, after a plus sign, before an opening parenthesis
BREAKS = re.compile(r"(\s+(?![^\[]*\])|(?<=\+)(?=[^\W\d])|(?<=\S)(?=\())")
INTERVAL = re.compile(r"\S+ \[[^\]]+, [^\]]+\]")  # `+1.0 [-0.5, +2.5]`
WIDE = 360  # points; a wider figure spans both columns of the page
FILTERS = {"dataset": "Benchmark", "variant": "Variant", "probe": "Probe", "preset": "Preset", "epochs": "Epochs"}


@dataclass(frozen=True)
class Group:
    """Tables and figures of one data set with their ids."""

    id: str
    dataset: str
    sections: list[tuple[str, Section]]
    figures: list[tuple[str, Figure]]


class Footnotes:
    """Footnote marks of one table; equal notes share a mark."""

    def __init__(self) -> None:
        self.marks: dict[str, str] = {}

    def mark(self, note: str) -> str:
        """a, b, ... z, aa, ab and so on."""
        return self.marks.setdefault(note, _letters(len(self.marks)))


class Ids:
    """Distinct ids made of names, so that links stay valid when the page is written again."""

    def __init__(self) -> None:
        self.taken: set[str] = set()

    def __call__(self, kind: str, name: str) -> str:
        base = f"{kind}-{re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-')[:80]}"
        id_, number = base, 1
        while id_ in self.taken:
            number += 1
            id_ = f"{base}-{number}"
        self.taken.add(id_)
        return id_


def write_page(path: Path, sections: Sequence[Section], figures: Sequence[Figure], runs: Sequence[Run], about: About) -> None:
    """Writes the page atomically. Raises UserError like `render_page` and if the file cannot be written."""
    remove_unfinished(path.parent, path.name)
    write_text(path, render_page(sections, figures, runs, about))


def render_page(sections: Sequence[Section], figures: Sequence[Figure], runs: Sequence[Run], about: About) -> str:
    """The HTML of the page: tables and figures by data set, in the given order.

    Args:
        sections: tables.
        figures: SVG figures.
        runs: all runs that rows refer to, and others. Of two runs with one id the last is used.
        about: page header.

    Raises:
        UserError: a figure is not an SVG file.
        ValueError: a row has a wrong number of cells, or refers to an unknown run.
    """
    places = {run.id: place for place, run in enumerate(runs)}
    for section in sections:
        for row in section.rows:
            if len(row.cells) != len(section.columns):
                raise ValueError(f"{section.name}: {row.method} has {len(row.cells)} cells for {len(section.columns)} columns")
            if unknown := [id_ for id_ in row.runs if id_ not in places]:
                raise ValueError(f"{section.name}: {row.method} refers to unknown runs: {', '.join(unknown)}")

    def run_places(row: Row) -> str:
        return " ".join(str(places[id_]) for id_ in row.runs)

    choices = {key: found for key in FILTERS if len(found := _values(key, [*sections, *figures])) > 1}
    head, body, panel = ((HERE / name).read_text(encoding="utf-8").strip() for name in ("head.js", "page.js", "panel.js"))
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = templates.get_template("page.html.j2").render(
        about=about,
        groups=_groups(sections, figures),
        choices=choices,
        labels=FILTERS,
        stopped=[(place, run) for place, run in enumerate(runs) if run.status != "done"],
        counts={status: sum(run.status == status for run in runs) for status in ("done", "unfinished", "failed")},
        run_places=run_places,
        plural=counted,
        spread_widths=_spread_widths,
        column_groups=_column_groups,
        METHOD=METHOD,
        MAX_SPACIOUS=MAX_SPACIOUS,
        MAX_UNWRAPPED=MAX_UNWRAPPED,
        distinct=lambda item: [
            f"{value} epochs" if key == "epochs" else value
            for key in choices
            if key != "dataset" and (value := getattr(item, key))
        ],
        last_line=lambda text: (text.strip().splitlines() or [""])[-1],
        image=_image,
        whole=_whole,
        interval=INTERVAL.fullmatch,
        footnotes_of_table=Footnotes,
        finite=lambda value: value is not None and value - value == 0,
        css=Markup((HERE / "style.css").read_text(encoding="utf-8")),
        head_script=Markup(head),
        scripts=[Markup(body), Markup(panel)],
        policy=_policy(head, body, panel),
        run_data=Markup(runs_json(runs)),
    )
    return page.encode(errors="replace").decode()  # unpaired surrogates, from paths that are not UTF-8, cannot be encoded


def _groups(sections: Sequence[Section], figures: Sequence[Figure]) -> list[Group]:
    ids = Ids()
    groups: dict[str, Group] = {}
    items: list[Section | Figure] = [*sections, *figures]
    for item in items:
        if item.dataset not in groups:
            groups[item.dataset] = Group(ids("data", item.dataset), item.dataset, [], [])
    for section in sections:
        groups[section.dataset].sections.append((ids("table", section.name), section))
    for figure in figures:
        groups[figure.dataset].figures.append((ids("figure", figure.name), figure))
    return list(groups.values())


def _image(id_: str, figure: Figure) -> Markup:
    """An img element with the SVG as data URI: images run no scripts, load no files, and their ids cannot clash."""
    try:
        root = ElementTree.fromstring(figure.svg.encode())
    except ElementTree.ParseError as error:
        raise UserError(f"{id_} is not an SVG file ({error}); run the report again") from error
    if root.tag != "{http://www.w3.org/2000/svg}svg":
        raise UserError(f"{id_} is not an SVG file (its root element is {root.tag!r}); run the report again")
    width = re.match(r"[\d.]+(?=(pt|px)?\s*$)", root.get("width", ""))
    wide = Markup(' class="wide"') if width and float(width[0]) > WIDE else ""
    data = base64.b64encode(figure.svg.encode()).decode()
    return Markup('<img{} src="data:image/svg+xml;base64,{}" alt="{}">').format(wide, data, figure.title)


def _whole(text: str) -> Markup:
    """`text` that is broken at BREAKS only, apart from parts longer than MAX_WHOLE."""
    parts: list[str] = BREAKS.split(text)  # the parts, and between two of them the spaces or nothing
    for place, part in enumerate(parts):
        if place % 2:
            parts[place] = part or Markup("<wbr>")
        elif len(part) <= MAX_WHOLE:
            parts[place] = Markup('<span class="whole">{}</span>').format(part)
    return Markup().join(parts)


def _values(key: str, items: Iterable[Section | Figure]) -> list[str]:
    """The distinct values of a field, in order."""
    return [value for value in dict.fromkeys(getattr(item, key) for item in items) if value]


def _spread_widths(section: Section) -> list[int]:
    """Characters of the longest standard deviation of each column (method first), which aligns the numbers."""
    columns = range(len(section.columns))
    return [0, *(max((len(row.cells[place].spread) for row in section.rows), default=0) for place in columns)]


def _column_groups(section: Section) -> list[tuple[str, int]]:
    """Group headings with the number of columns they span; empty list if no column has a group."""
    runs = groupby(column.group for column in section.columns)
    return [(group, len(list(members))) for group, members in runs] if any(c.group for c in section.columns) else []


def _letters(number: int) -> str:
    text = ""
    number += 1
    while number:
        number, letter = divmod(number - 1, 26)
        text = chr(ord("a") + letter) + text
    return text


def _policy(*scripts: str) -> str:
    """Content-Security-Policy: only these scripts, only data URIs as images, no requests."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts)
    rules = ["default-src 'none'", f"script-src {hashes}", "style-src 'unsafe-inline'", "img-src data:", "base-uri 'none'"]
    return "; ".join([*rules, "form-action 'none'"])
