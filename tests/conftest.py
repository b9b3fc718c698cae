"""What several tests use: golden numbers, real photographs, command line runs."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # of command lines in processes of their own: other tests need the other cores
torch.set_num_threads(1)  # test networks are too small to gain from more, and suffer where cores are shared

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "golden"
DEADLINE = 900  # seconds for a process that takes seconds on an idle machine


@pytest.fixture(scope="session")
def golden():
    return np.load(GOLDEN / "reference.npz")


@pytest.fixture(scope="session")
def golden_losses():
    return {name: torch.from_numpy(values) for name, values in np.load(GOLDEN / "losses.npz").items()}


@pytest.fixture(scope="session")
def cifar10_labels():
    return np.load(GOLDEN / "cifar10_train_labels.npz")["labels"].astype(np.int64)


@pytest.fixture(scope="session")
def cifar100_labels():
    return np.load(GOLDEN / "cifar100_train_labels.npz")["labels"].astype(np.int64)


@pytest.fixture(scope="session")
def photographs():
    """256 real 32x32 photographs, uint8 (N, 3, 32, 32): patches of the two pictures that scikit-learn ships."""
    from sklearn.datasets import load_sample_images

    stream = np.random.RandomState(0)
    patches = []
    for picture in load_sample_images().images:
        for _ in range(128):
            side = stream.choice([32, 64, 128])
            top, left = stream.randint(picture.shape[0] - side), stream.randint(picture.shape[1] - side)
            step = side // 32
            patches.append(picture[top : top + side : step, left : left + side : step].transpose(2, 0, 1))
    return torch.from_numpy(np.stack(patches))


@pytest.fixture(autouse=True)
def _figures(request, monkeypatch):
    """Reports of the command line draw no figures, which take most of their time, but for tests marked `figures`."""
    if request.node.get_closest_marker("figures") is None:
        for command in ("report", "leaderboard"):
            monkeypatch.setattr(f"commands.{command}.write_figures", lambda *arguments: [])


@pytest.fixture
def mistake(capsys):
    """Runs the command line in this process, expects a user's mistake, and returns its error message, one line."""
    import bench as command_line

    def run(*arguments) -> str:
        capsys.readouterr()
        assert command_line.main([str(argument) for argument in arguments]) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert line.startswith("bench.py: ")
        return line

    return run
