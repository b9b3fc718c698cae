"""Synthetic records with consistent fields, for tests and timings of reports."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np

from eval.groups import RULES, break_down
from run_store.records import AccuracyRecord, GeometryRecord, OtherGroups, pack

COUNTS = [4500, 2697, 1617, 969, 581, 348, 208, 125, 75, 45]  # images of each class
PROTOCOLS = {"sdclr-cached": "Linear probe, SGD lr 30", "ridge": "Ridge regression", "knn": "kNN, k = 20"}
PER_CLASS = 100  # test images


def made_record(
    method: str = "simclr", *, probe: str = "ridge", split: int = 1, seed: int = 0, level: float = 60.0, **changes
) -> AccuracyRecord:
    """A record of a run on CIFAR-10-LT with lower accuracy in the tail and a mean of about `level` per cent.

    Equal arguments give equal records; split and seed shift the accuracies, `changes` replaces any field.
    """
    stream = np.random.default_rng([split, seed, len(method), ord(method[0]), len(probe)])
    counts = np.roll(COUNTS, split).tolist()
    drop = 20 * (np.log(max(COUNTS)) - np.log(counts)) / np.log(100)
    accuracy = np.clip(level + 10 - drop + stream.normal(0, 3, len(counts)), 1, 99).round()
    correct = np.zeros((1, PER_CLASS * len(counts)), dtype=bool)
    for c, right in enumerate(accuracy.astype(int)):
        correct[0, c * PER_CLASS + stream.permutation(PER_CLASS)[:right]] = True
    summary = break_down(accuracy, counts)
    main, other = (asdict(summary.groups[rule]) for rule in ("thirds", "number"))
    return AccuracyRecord(
        **_run(method, split, seed, counts, main.pop("group_sizes"))
        | {
            "probe": probe,
            "protocol": PROTOCOLS.get(probe, f"protocol of {probe}"),
            "probe_seconds": 3.0,
            "chosen": "strength 0.1",
            "val_accuracy": float(accuracy.mean()),
            "val_class_accuracy": accuracy.tolist(),
            "n_train": 45_000,
            "n_val": 5000,
            "n_test": correct.size,
            "class_accuracy": accuracy.tolist(),
            "draw_means": [float(accuracy.mean())],
            "test_counts": [PER_CLASS] * len(counts),
            "correct": pack(correct),
            "curve": None,
            "mean": summary.mean,
            "class_std": summary.class_std,
            "worst": summary.worst,
            "harmonic_mean": summary.harmonic_mean,
            **main,
            "other_groups": OtherGroups(grouping=RULES["number"], **other),
        }
        | changes
    )


def made_geometry(method: str = "simclr", *, split: int = 1, seed: int = 0, **changes) -> GeometryRecord:
    """The geometry of such a run."""
    by_group = {"all": 1.0, "many": 0.9, "medium": 1.0, "few": 1.1}
    return GeometryRecord(
        **_run(method, split, seed, np.roll(COUNTS, split).tolist(), [4, 3, 3])
        | {
            "probe": "geometry",
            "protocol": "Alignment, uniformity, effective rank",
            "probe_seconds": 5.0,
            "n_test": 1000,
            "alignment": {name: 0.4 * value for name, value in by_group.items()},
            "uniformity": {name: -2.5 * value for name, value in by_group.items()},
            "effective_rank": {name: 40.0 * value for name, value in by_group.items()},
        }
        | changes
    )


def made_grid(
    methods: Sequence[str], splits: int, seeds: int, probes: Sequence[str] = tuple(PROTOCOLS)
) -> Iterator[AccuracyRecord]:
    """A record of every combination; later methods are better."""
    for rank, method in enumerate(methods):
        for split in range(1, splits + 1):
            for seed in range(seeds):
                for probe in probes:
                    yield made_record(method, probe=probe, split=split, seed=seed, level=55 + 2 * rank)


def _run(method: str, split: int, seed: int, counts: list[int], group_sizes: list[int]) -> dict:
    return {
        "run_id": f"{method}-{split}-{seed}",
        "method": method,
        "hparams": {"temperature": 0.2},
        "dataset": "cifar10lt",
        "profile": "sdclr",
        "split": split,
        "official_split": True,
        "data": "cifar10lt (profile sdclr): 11165 images, 4500 to 45 of a class, ratio 100; CIFAR-10, sha256 013ba16d14ec",
        "mark": "",
        "passport": f"{split:012x}",
        "seed": seed,
        "backbone": "slim-resnet8",
        "preset": "cpu",
        "recipe": {
            "backbone": "slim-resnet8",
            "epochs": 34,
            "batch_size": 128,
            "optimizer": "adamw",
            "lr": 0.004,
            "weight_decay": 0.0001,
            "warmup_epochs": 1.7,
            "final_lr": 0.0,
            "sizes": [16, 24, 32],
        },
        "epochs": 34,
        "batch_size": 128,
        "precision": "bf16",
        "executor": "torch",
        "class_counts": counts,
        "group_counts": counts,
        "grouping": RULES["thirds"],
        "group_sizes": group_sizes,
        "n_pretrain": sum(counts),
        "unreadable": 0,
        "pretrain_sha256": "7a45276a",
        "pool": None,
        "tail_auroc": 0.6,
        "tail_spearman": 0.1,
        "train_seconds": 300.0,
        "images_seen": 34 * sum(counts),
        "images_per_second": 1265.0,
        "peak_memory_mb": 1500.0,
        "device": "cpu, 2 threads",
        "versions": {"python": "3.11.7", "torch": "2.14.1"},
    }
