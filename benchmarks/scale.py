"""Time of each periodic part of a run, and of each probe, by the number of images, with the fitted growth.

    python benchmarks/scale.py [--sizes 10000 100000 1000000] [--threads 2] [--only k-means]

Embeddings, features and labels are random, as forward passes are linear in the number of images and are the network's time. The
growth is the slope of log time against log images, fitted over all sizes: 1 is linear.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from cyclopts import App, Parameter
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent.parent))

from core.terminal import clock
from data.lists.index_file import check_index_file, read_index_file
from eval import svm
from eval.features import LabelledFeatures
from eval.probes import knn, ridge
from eval.probes.shots import draw_shots
from eval.tail import describe_state, tail_detection
from methods.bcl import strengths
from methods.clusters import (
    RESTARTS,
    hard_assignment,
    local_density,
    log_kernel_density,
    soft_assignment,
    softmax_membership,
    spherical_kmeans,
)
from methods.colt import cluster_budgets, nearest_to_centers
from methods.memory import SampleMemory
from methods.tase import headness, temperatures, weights

WIDTH, CLASSES, BATCH, QUERIES = 128, 100, 256, 2000
CPU = torch.device("cpu")
app = App()


@dataclass
class Data:
    """Random images, as embeddings, with long-tailed labels."""

    images: int

    def __post_init__(self) -> None:
        stream = torch.Generator().manual_seed(0)
        share = np.geomspace(1, 0.01, CLASSES)
        counts = np.maximum(1, (self.images * share / share.sum()).astype(int))
        counts[0] += self.images - counts.sum()
        self.counts = counts
        self.labels = torch.from_numpy(np.repeat(np.arange(CLASSES), counts))
        centres = torch.randn(CLASSES, WIDTH, generator=stream)
        self.x = F.normalize(torch.randn(self.images, WIDTH, generator=stream).mul_(3).add_(centres[self.labels]), dim=1)
        self.scores = torch.rand(self.images, generator=stream)
        self.centers = F.normalize(centres, dim=1)
        self.rows = LabelledFeatures(self.x, torch.arange(self.images), self.labels)
        few = torch.randint(self.images, (QUERIES,), generator=stream)
        self.queries = LabelledFeatures(self.x, few, self.labels[few])


def _parts(data: Data) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each part by name."""
    n, labels = data.images, data.labels

    def memory() -> None:
        averages = SampleMemory(n, 0.97)
        for index in torch.randperm(n).split(BATCH):
            averages.update(index, data.scores[index])

    def refresh() -> None:
        assigned = soft_assignment(data.x, CLASSES, softmax_membership(data.centers, 0.1))
        temperatures(headness(assigned), 0.1, 0.4, "loglin")
        weights(assigned, "effective", 0.5)

    def oracle() -> None:
        assigned = hard_assignment(labels, 8142)
        temperatures(headness(assigned), 0.1, 0.4, "loglin")
        weights(assigned, "effective", 0.5)

    def sampling() -> None:
        budgets = cluster_budgets(data.scores, labels % 10, 10, min(10_000, n), 1.0)
        nearest_to_centers(data.x @ data.centers[:10].T, budgets)

    def lists() -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "list.txt"
            file.write_text(
                "".join(f"train/{c:05d}/{i:08d}.jpg {c}\n" for i, c in enumerate(labels.tolist())), encoding="utf-8"
            )
            check_index_file(read_index_file(file), CLASSES)

    def state() -> None:
        describe_state({"cluster": labels.numpy() % 10, "weight": data.scores.numpy()}, labels.numpy(), data.counts)

    yield "order of an epoch", lambda: torch.randperm(n)[torch.randperm(n)]
    yield "per-image memory, one epoch", memory
    yield "BCL: strengths of the augmentation", lambda: strengths(data.scores)
    yield "COLT: k-means, 10 clusters, 10 restarts", lambda: spherical_kmeans(data.x, 10, RESTARTS)
    yield "COLT: budgets and selection of 10,000 from a pool of N", sampling
    yield "TASE-R: k-means, 100 clusters, 10 restarts", lambda: spherical_kmeans(data.x, 100, RESTARTS)
    yield "TASE-R: memberships, temperatures, weights", refresh
    yield "TASE-R: the same with 8,142 true labels", oracle
    yield "TASE-R: density among neighbours", lambda: local_density(data.x)
    yield "rwSAM: kernel density", lambda: log_kernel_density(data.x, 0.25)
    yield "log: tail AUROC and rank correlation", lambda: tail_detection(data.scores.numpy(), labels.numpy(), data.counts)
    yield "log: states by group and cluster", state
    yield "index list: write, read, check", lists
    yield "few-shot draw", lambda: draw_shots(np.arange(n), labels.numpy(), 10, 0, 1)
    yield "probe `ridge`: fit", lambda: ridge.fit(data.rows, CLASSES)
    yield f"probe `knn`: {QUERIES:,} queries", lambda: knn.classify(data.queries, data.rows, CLASSES, CPU)
    yield "probe `ts-longtailed`: fit", lambda: svm.fit(data.rows, CLASSES, CPU)


@app.default
def main(
    *,
    sizes: Annotated[list[int], Parameter(consume_multiple=True)] = [10_000, 100_000, 1_000_000],  # noqa: B006
    threads: int = 2,
    only: Annotated[str, Parameter(help="part of the names of the parts to measure")] = "",
) -> None:
    """Prints seconds for each part and size, and the growth."""
    torch.set_num_threads(threads)
    seconds: dict[str, list[float]] = {}
    for size in sizes:
        for name, run in _parts(Data(size)):
            if only not in name:
                continue
            started = time.perf_counter()
            run()
            first = time.perf_counter() - started
            started = time.perf_counter()
            if first < 5:  # again, without the costs of a first call
                run()
            seconds.setdefault(name, []).append(min(first, time.perf_counter() - started) if first < 5 else first)
            print(f"{size:,}, {name}: {clock(first)}", file=sys.stderr)
    rows = []
    for name, times in seconds.items():
        growth = np.polyfit(np.log(sizes), np.log(times), 1)[0] if len(sizes) > 1 else float("nan")
        columns = {f"{size:,}": f"{value:.3g} s" for size, value in zip(sizes, times, strict=True)}
        rows.append({"part": name, **columns, "growth": f"{growth:.2f}"})
    print(pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True))


if __name__ == "__main__":
    app()
