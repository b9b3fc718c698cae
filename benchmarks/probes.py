"""Speed of the closed-form and neighbour probes against scikit-learn's, at equal accuracy.

    python benchmarks/probes.py [--threads 2] [--rounds 3] [--images 45000] [--queries 10000] [--width 512] [--classes 10]

Random features: Gaussian clusters, non-negative as those of a ResNet. Suite and scikit-learn alternate in one process after a
warm-up round, so that noise of the machine affects both; medians of the rounds are printed. Peak memory is measured in a
process of its own for each, without the features.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from cyclopts import App, Parameter
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifierCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parent.parent))

from data.lists.longtail import IndexLists, Indices
from eval.features import FrozenFeatures, LabelledFeatures
from eval.probes import PROBES
from eval.probes.knn import TEMPERATURE, K
from eval.probes.ridge import STRENGTHS

app = App()
Predict = Callable[[], NDArray[np.int64]]  # learns and predicts the queries' classes


class Given(FrozenFeatures):
    """Given features as the input of probes; a ninth of the labelled ones are for validation."""

    device = torch.device("cpu")
    in_files = False

    def __init__(self, images: int, queries: int, width: int, classes: int, noise: float):
        stream = torch.Generator().manual_seed(0)
        centres = torch.randn(classes, width, generator=stream)
        held_out = images // 9
        self.classes = classes
        order = np.arange(images + held_out)
        self.lists = IndexLists(order[:0], order[:0], order[:0], order[:images], order[images:])
        labels, test_labels = (torch.arange(count) % classes for count in (len(order), queries))
        self._bank, test = (_cloud(centres, y, noise, stream) for y in (labels, test_labels))
        self._train_labels, self._position = labels, torch.from_numpy(order)
        self.images = SimpleNamespace(train_labels=labels.numpy())
        self.test = LabelledFeatures(test, torch.arange(queries), test_labels)

    def arrays(self, indices: Indices) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Features and labels as arrays for scikit-learn, without a copy if the indices are a range."""
        part = slice(int(indices[0]), int(indices[-1]) + 1)
        return self._bank[part].numpy(), self._train_labels[part].numpy()


@app.default
def main(
    *,
    threads: Annotated[int, Parameter(help="threads of torch and of scikit-learn's BLAS")] = 2,
    rounds: Annotated[int, Parameter(help="rounds of every candidate, after a warm-up round")] = 3,
    images: Annotated[int, Parameter(help="labelled images")] = 45_000,
    queries: Annotated[int, Parameter(help="test images")] = 10_000,
    width: Annotated[int, Parameter(help="dimensions of a feature")] = 512,
    classes: Annotated[int, Parameter(help="classes")] = 10,
    noise: Annotated[float, Parameter(help="standard deviation within a class; 1 between the centres")] = 5.0,
    memory_of: Annotated[str | None, Parameter(help="only measure the memory of this candidate", show=False)] = None,
) -> None:
    """Times all candidates in turn and prints medians, ratios, accuracies and peaks of memory."""
    torch.set_num_threads(threads)
    frozen = Given(images, queries, width, classes, noise)
    pairs = _pairs(frozen, threads)
    candidates = {f"{name}, {whose}": run for name, both in pairs.items() for whose, run in both.items()}
    with threadpool_limits(threads):
        if memory_of is not None:
            print(_peak(candidates[memory_of]))
            return
        seconds: dict[str, list[float]] = {name: [] for name in candidates}
        accuracy = {}
        for number in range(rounds + 1):
            for name, run in candidates.items():
                started = time.perf_counter()
                predicted = run()
                if number:
                    seconds[name].append(time.perf_counter() - started)
                accuracy[name] = 100 * (predicted == frozen.test.labels.numpy()).mean()
    rows = {}
    for name, times in seconds.items():
        base = median(seconds[f"{name.split(', ')[0]}, scikit-learn"])
        rows[name] = {
            "seconds": f"{median(times):.2f}",
            "ratio": f"{base / median(times):.1f}",
            "accuracy": f"{accuracy[name]:.2f}",
            "peak MB": _peak_apart(name),
        }
    print(pd.DataFrame(rows).T.to_markdown(disable_numparse=True))


def _pairs(frozen: Given, threads: int) -> dict[str, dict[str, Predict]]:
    """The timed functions of each probe by name, the suite's first."""
    return {
        "ridge": {"suite": _probe(frozen, "ridge"), "scikit-learn": _their_ridge(frozen)},
        "knn": {"suite": _probe(frozen, "knn"), "scikit-learn": _their_neighbours(frozen, threads)},
    }


def _probe(frozen: Given, name: str) -> Predict:
    return lambda: PROBES[name]().run(frozen, 0).predicted[0]


def _their_ridge(frozen: Given) -> Predict:
    """scikit-learn's ridge classifier with the same strengths, selected by leave-one-out on the training images."""

    def run() -> NDArray[np.int64]:
        x, y = frozen.arrays(frozen.lists.train)
        scaler = StandardScaler()
        model = RidgeClassifierCV(alphas=[strength * len(x) for strength in STRENGTHS])
        model.fit(scaler.fit_transform(x.astype(np.float64)), y)
        return model.predict(scaler.transform(frozen.test.bank.numpy().astype(np.float64)))

    return run


def _their_neighbours(frozen: Given, threads: int) -> Predict:
    """The same neighbours and weights: cosine distance is 1 minus the similarity."""

    def run() -> NDArray[np.int64]:
        model = KNeighborsClassifier(
            K, weights=lambda distance: np.exp(-distance / TEMPERATURE), metric="cosine", algorithm="brute", n_jobs=threads
        )
        return model.fit(*frozen.arrays(frozen.lists.train)).predict(frozen.test.bank.numpy())

    return run


def _cloud(centres: torch.Tensor, labels: torch.Tensor, noise: float, stream: torch.Generator) -> torch.Tensor:
    made = torch.randn(len(labels), centres.shape[1], generator=stream).mul_(noise)
    for start in range(0, len(labels), 4096):  # no second copy, so that peaks of memory are those of the probes
        made[start : start + 4096] += centres[labels[start : start + 4096]]
    return made.relu_()


def _peak(run: Predict) -> str:
    """Largest increase of the resident memory of the process in MB (Linux)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # resets the peak
    before = _resident("VmRSS")
    run()
    return f"{(_resident('VmHWM') - before) / 1024:.0f}"


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1])


def _peak_apart(name: str) -> str:
    command = [sys.executable, *sys.argv, "--memory-of", name]
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout.strip()


if __name__ == "__main__":
    app()
