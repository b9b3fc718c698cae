"""Synthetic content of a page: tables, figures and runs."""

import io
import json

import matplotlib
import numpy as np

from reports.page import About, Cell, Column, Figure, Log, Row, Run, Section

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</script><b>bold</b>",
    "${x} {{ 7 * 7 }} {% raw %}",
    "emoji 🦩 & co. 'single' \"double\"",
    "\u202eright-to-left override",
    "שיטה עם שם עברי",
    "long " * 40,
    "javascript:alert(1)",
    "<!--",
]
METRICS = [("Many", 62), ("Medium", 55), ("Few", 48), ("All", 56)]
CAPTION = (
    "Mean ± std over n runs (splits 1-3; seeds 0, 1). Bold: best, and not significantly worse (paired bootstrap, 95%). "
    "CPU-scale numbers, not comparable with published ones."
)
DETAILS = (
    "Ridge regression on frozen features; 45000 training, 5000 validation, 10000 test images. Many/medium/few: thirds of the "
    "classes by training images (4/3/3 classes)."
)


def made_svg(seed: int = 0) -> str:
    """A figure as Matplotlib writes it: with a clip path, a style for everything, and metadata."""
    from matplotlib.figure import Figure as Drawing

    stream = np.random.default_rng(seed)
    with matplotlib.rc_context({"svg.hashsalt": "page", "svg.fonttype": "none"}):
        drawing = Drawing(figsize=(5, 3.2), layout="tight")
        axes = drawing.subplots()
        for level, name in ((58, "SimCLR"), (61, "SDCLR"), (54, "BYOL")):
            axes.plot(level + 8 - np.arange(10) * 2.2 + stream.normal(0, 2, 10), marker="o", markersize=3, label=name)
        axes.set(xlabel="class, by falling number of images", ylabel="accuracy in %")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        file = io.StringIO()
        drawing.savefig(file, format="svg")
    return file.getvalue()


def made_page(
    methods=("SimCLR", "SDCLR"),
    datasets=("cifar10lt", "cifar100lt"),
    probes=("ridge", "knn"),
    presets=("cpu",),
    seeds=2,
    svg=None,
):
    """Arguments of `render_page`: a table of each combination; the first method's runs failed and are unfinished."""
    stream = np.random.default_rng(0)
    sections, figures, runs = [], [], []
    for dataset in datasets:
        for preset in presets:
            scale = "CPU-scale: not comparable with published numbers" if preset == "cpu" else ""
            ids = {name: [f"{dataset}-{preset}-{rank}-{seed}" for seed in range(seeds)] for rank, name in enumerate(methods)}
            for rank, name in enumerate(methods):
                runs += [_run(id_, name, dataset, preset, seed, probes, rank) for seed, id_ in enumerate(ids[name])]
            for probe in probes:
                values = [[level + rank + stream.normal(0, 2) for _, level in METRICS] for rank in range(len(methods))]
                rows = [
                    Row(
                        name,
                        [
                            Cell(f"{value:.1f}", value, f"± {abs(stream.normal(1, 0.4)):.1f}", value == max(column))
                            for value, column in zip(values[rank], zip(*values, strict=True), strict=True)
                        ]
                        + [Cell("0.21", 0.21, note="of the last epoch") if rank else Cell(), Cell("2", 2)],
                        ids[name],
                    )
                    for rank, name in enumerate(methods)
                ]
                rows[-1] = Row(
                    rows[-1].method, [Cell(state="failed"), *rows[-1].cells[1:-2], Cell(), Cell("0", 0)], ids[methods[-1]]
                )
                sections.append(
                    Section(
                        name=f"{dataset}-{preset}-{probe}",
                        dataset=dataset,
                        variant="sdclr",
                        probe=probe,
                        preset=preset,
                        title=f"Test accuracy in %, probe {probe}",
                        caption=CAPTION,
                        details=DETAILS,
                        scale=scale,
                        columns=[Column(name, "accuracy") for name, _ in METRICS]
                        + [Column("Gap", lower_is_better=True), Column("Runs")],
                        rows=rows,
                    )
                )
        for preset in presets:
            figures.append(
                Figure(
                    name=f"classes-{dataset}-{preset}",
                    dataset=dataset,
                    preset=preset,
                    title="Accuracy by class",
                    caption="Classes from the most to the fewest training images; a point is the mean over runs.",
                    svg=svg or made_svg(len(figures)),
                )
            )
    return sections, figures, runs, About("A page", {"made": "2026-05-04"})


def _run(id_, method, dataset, preset, seed, probes, rank):
    config = {"method": method, "dataset": dataset, "preset": preset, "seed": seed, "recipe": {"epochs": 34, "sizes": [16, 24]}}
    loss = (6 - 0.4 * rank) * np.exp(-np.arange(200) / 80)
    return Run(
        id=id_,
        method=method,
        dataset=dataset,
        variant="sdclr",
        preset=preset,
        split=1,
        seed=seed,
        status="done" if rank or seed > 1 else ("failed", "unfinished")[seed],
        facts={"training": "5 min 12 s on cpu, 2 threads"},
        results={probe: {"All": "56.1", "Many": "62.0"} for probe in probes} | {"geometry": {"Alignment": "0.312"}},
        log=Log(200, [json.dumps({"epoch": 199, "loss": 0.5})], {"loss": loss.tolist()}),
        config=json.dumps(config, indent=2),
        passport=f"{dataset} split 1\nimages 11165\n" + "\n".join(f"class {c}: {5000 // (c + 1)} images" for c in range(10)),
        error="" if rank or seed else "Traceback (most recent call last):\n  File\nUserError: no space left on the disk",
    )
