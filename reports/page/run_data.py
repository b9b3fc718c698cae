"""The runs of the page as JSON, with limits on the length of texts and series."""

import json
import math
from collections.abc import Sequence
from typing import Any

from reports.page.content import Run

POINTS = 60  # values of a series: enough for a sparkline
MAX_TEXT = 20_000  # characters of a configuration, passport or traceback; of longer ones the end is kept
MAX_LINE = 400  # characters of a log line


def runs_json(runs: Sequence[Run]) -> str:
    """JSON list of the runs for a script element; `<` is escaped, so that no text can close the element."""
    return json.dumps([_run(run) for run in runs], separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def subsample(series: Sequence[float | None]) -> list[float | None]:
    """At most POINTS evenly spaced values, first and last included, to four digits; non-finite values become None."""
    last = len(series) - 1
    indices = range(last + 1) if last < POINTS else [round(k * last / (POINTS - 1)) for k in range(POINTS)]
    values = (series[index] for index in indices)
    return [float(f"{value:.4g}") if value is not None and math.isfinite(value) else None for value in values]


def _run(run: Run) -> dict[str, Any]:
    series = {name: subsample(values) for name, values in run.log.series.items()}
    last = "\n".join(line if len(line) <= MAX_LINE else line[:MAX_LINE] + " …" for line in run.log.last)
    texts = {"last": last, "config": run.config, "passport": run.passport, "error": run.error}
    return {
        "id": run.id,
        "method": run.method,
        "dataset": run.dataset,
        "variant": run.variant,
        "preset": run.preset,
        "split": run.split,
        "seed": run.seed,
        "status": run.status,
        "facts": dict(run.facts),
        "results": {probe: dict(values) for probe, values in run.results.items()},
        "log": run.log.lines,
        "series": {name: values for name, values in series.items() if any(value is not None for value in values)},
        **{name: _truncated(text.rstrip()) for name, text in texts.items() if text.strip()},
    }


def _truncated(text: str) -> str:
    left_out = len(text) - MAX_TEXT
    return text if left_out <= 0 else f"[the first {left_out} characters are left out]\n{text[-MAX_TEXT:]}"
