"""Runs as compact JSON: texts that many runs share, wholly or line by line, are written once."""

import json
import math
from collections.abc import Sequence
from typing import Any

from reports.page.content import Run

POINTS = 60  # of a series: more than a curve of a few centimetres can show
LONGEST = 20_000  # characters of a text; the end of a longer one is kept, where tracebacks say what happened
LONGEST_LINE = 400  # characters of a line of the log


class Texts:
    """Numbers for texts. `lines` are distinct; `texts` are distinct too, each a list of numbers of lines."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self.texts: dict[tuple[int, ...], int] = {}

    def number(self, text: str) -> int:
        """The text's place in `texts`."""
        if len(text) > LONGEST:
            text = f"[the first {len(text) - LONGEST} characters are left out]\n{text[-LONGEST:]}"
        lines = tuple(self.lines.setdefault(line, len(self.lines)) for line in text.rstrip().split("\n"))
        return self.texts.setdefault(lines, len(self.texts))


def runs_json(runs: Sequence[Run]) -> str:
    """JSON for a script element: `{"lines": [...], "texts": [[...]], "runs": [...]}`, with no `<` in it."""
    texts = Texts()
    listed = [_run(run, texts) for run in runs]
    content = {"lines": list(texts.lines), "texts": list(texts.texts), "runs": listed}
    # a `</script>` or `<!--` in a text would end the element early
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def thinned(series: Sequence[float | None]) -> list[float | None]:
    """At most POINTS values at even distances, first and last among them, to four digits; what is not finite becomes None."""
    last = len(series) - 1
    places = range(last + 1) if last < POINTS else [round(k * last / (POINTS - 1)) for k in range(POINTS)]
    values = (series[place] for place in places)
    return [float(f"{value:.4g}") if value is not None and math.isfinite(value) else None for value in values]


def _run(run: Run, texts: Texts) -> dict[str, Any]:
    courses = {name: thinned(values) for name, values in run.log.series.items()}
    content = {
        "id": run.id,
        "method": run.method,
        "dataset": run.dataset,
        "profile": run.profile,
        "preset": run.preset,
        "split": run.split,
        "seed": run.seed,
        "status": run.status,
        "facts": dict(run.facts),
        "results": {probe: dict(values) for probe, values in run.results.items()},
        "log": run.log.lines,
        "series": {name: kept for name, kept in courses.items() if any(value is not None for value in kept)},
    }
    last = "\n".join(line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + " …" for line in run.log.last)
    for key, text in (("last", last), ("config", run.config), ("passport", run.passport), ("error", run.error)):
        if text.strip():
            content[key] = texts.number(text)
    return content
