"""Time and memory of one COLT sampling by the size of its pool: scoring, clustering, budgets and selection.

    python benchmarks/colt_sampling.py [--sizes 10000 100000 300000]

Embeddings of width 128 are given (random), as the forward pass of a pool is the network's time and not the sampling's. Each
size runs in a process of its own, whose peak memory over that of an empty pool is divided by the pool's images.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import torch
from cyclopts import App, Parameter
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent.parent))

from methods.clusters import RESTARTS, spherical_kmeans
from methods.colt import cluster_budgets, nearest_to_centers

TRAINING, WIDTH, CLUSTERS, BATCH = 11_165, 128, 10, 500
app = App()


@app.default
def main(*, sizes: Annotated[list[int], Parameter(consume_multiple=True)] = [10_000, 100_000, 300_000]) -> None:  # noqa: B006
    """Prints seconds and bytes an image for each size of the pool."""
    empty = _in_a_process(1000)[1]
    for size in sizes:
        parts, peak = _in_a_process(size)
        print(f"{size} OOD images: {parts}; {(peak - empty) / (size - 1000):.0f} bytes an image")


@app.command
def one(size: int) -> None:
    """Runs one sampling and prints its seconds and the process's peak memory in bytes."""
    torch.manual_seed(0)
    x = F.normalize(torch.randn(TRAINING, WIDTH), dim=1)
    started = time.perf_counter()
    labels, centers = spherical_kmeans(x, CLUSTERS, RESTARTS)
    clustered = time.perf_counter()
    batches = (torch.randn(min(BATCH, size - start), WIDTH) for start in range(0, size, BATCH))
    drawing, parts = 0.0, []
    for z in batches:
        before = time.perf_counter()
        parts.append(F.normalize(z, dim=1) @ centers.T)
        drawing += time.perf_counter() - before
    before = time.perf_counter()
    likeness = torch.cat(parts)
    budgets = cluster_budgets(torch.rand(TRAINING), labels, CLUSTERS, min(10_000, size), 1.0)
    chosen = nearest_to_centers(likeness, budgets)
    selected = time.perf_counter() - before
    assert len(chosen.unique()) == min(10_000, size)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"k-means {clustered - started:.2f} s, scores {drawing:.2f} s, selection {selected:.2f} s|{peak}")


def _in_a_process(size: int) -> tuple[str, int]:
    output = subprocess.run(
        [sys.executable, __file__, "one", str(size)], capture_output=True, encoding="utf-8", check=True
    ).stdout
    parts, peak = output.strip().split("|")
    return parts, int(peak)


if __name__ == "__main__":
    app()
