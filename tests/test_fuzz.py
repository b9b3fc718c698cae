"""Every parser of files ends with a value or with a UserError of one line, whatever the content of the file."""

import json
import logging
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec import Raw
from safetensors.torch import save_file
from torch import nn
from torch.optim import SGD

from backbones.state_dict import read_tensors
from core.errors import UserError
from core.settings import describe, with_changes
from data.benchmark import Source
from data.datasets.inat18 import read_annotations
from data.lists.imagefolder_metadata import csv_rows, json_rows
from data.lists.index_file import check_index_file, read_index_file
from data.lists.webdataset import read_shards
from data.passport import Passport
from data.pools.folder import read_array
from data.recipe import Recipe
from data.sources import cifar100
from grid.options import GridOptions, LauncherOptions
from grid.options_file import OPTIONS_FILE, read_options, save_options
from methods import METHODS
from reports.figures.tsne import EMBEDDING, embedding
from reports.spread import FILE as SPREADS
from reports.spread import read_spreads
from reports.tables.published import FILE, read_published
from run_store.class_quantiles import load_class_quantiles, save_class_quantiles
from run_store.contents import read_texts, read_unfinished
from run_store.feature_sample import Sample, load_sample, save_sample
from run_store.folder import RunFolder
from run_store.history import read_history
from run_store.layout import (
    CHECKPOINT,
    CLASS_QUANTILES,
    CONFIG,
    FEATURE_SAMPLE,
    GRID,
    LEASE,
    LOG,
    PASSPORT,
    POOL,
    RESULTS,
    TRAINING,
)
from run_store.lease import current_lease
from run_store.loading import read_config, read_export
from run_store.passport import OLD_PASSPORT, read_passport, upgrade_passport, write_passport
from run_store.records import read_records
from run_store.states import save_grid, statuses
from run_store.submission import Submission, read_submission, write_submission
from tests.folders import write_tar
from tests.fuzzing import extremes, mutate
from tests.reports.made import made_geometry, made_record
from tests.runs import small_config
from tests.shared_runs import write_lease
from training.checkpoint import Progress, read_checkpoint
from training.checkpoint_writer import CheckpointWriter
from training.log import resume_log

SEED = 7
COLT = {setting.name for setting in describe(METHODS["colt"].Hparams)}
SLOWEST = 20.0  # seconds of one input; more is a hang

PASSED = Passport(
    benchmark="digitslt",
    profile="own",
    about="two classes",
    split=1,
    official=False,
    source=Source("digits", "sha256 0123 of all"),
    counts=(9, 4),
    lists={"pretrain": (13, "0" * 64), "test": (5, "1" * 64)},
    group_counts=(8, 5),
)
EPOCHS = [
    {"epoch": 1, "loss": 2.5, "lr": 0.1, "view_px": 16, "images_per_second": 900.0, "tail": {"auroc": 0.6, "spearman": None}},
    {"epoch": 2, "loss": 2.0, "lr": 0.1, "temperature": {"many": 0.3, "medium": 0.2, "few": None}, "clusters": {"number": 2}},
    {"epoch": 3, "sampling": {"images": [9, 4], "few": [0.5, 0.0], "sampled": [7, 3], "tailness": [0.7, -0.7]}, "knn": 50.0},
]
ANNOTATIONS = {
    "images": [{"id": 10 + i, "file_name": f"train_val2018/Aves/{i % 2}/{i}.jpg"} for i in range(4)],
    "annotations": [{"id": i, "image_id": 10 + i, "category_id": i % 2} for i in range(4)],
    "categories": [{"id": 0, "name": "a"}, {"id": 1, "name": "b"}],
}
FACTS = {"seconds": 1.5, "images": 300, "peak_memory_mb": None, "device": "cpu", "unreadable": 0, "weights_sha256": "0" * 64}


def _records(checksums: bool) -> bytes:
    lines = [record.to_line() for record in (made_record(), made_record(split=2, seed=3), made_geometry())]
    if not checksums:  # as in earlier versions
        lines = [json.dumps({k: v for k, v in json.loads(line).items() if k != "sha256"}) for line in lines]
    return "\n".join(lines).encode()


def _settings(file: Path) -> None:
    """`name=value` of a recipe or of a method, as text of the command line, one a line."""
    for text in file.read_bytes().decode(errors="surrogateescape").split("\n"):
        name, _, value = text.partition("=")
        owner, settings = ("colt", METHODS["colt"].Hparams()) if name in COLT else ("recipe", Recipe())
        with_changes(settings, {name: value}, owner)


@pytest.fixture(scope="module")
def parsers(tmp_path_factory) -> dict[str, tuple[Path, Callable[[Path], object]]]:
    """By name: a valid file, and a function that parses it."""
    out = tmp_path_factory.mktemp("valid")
    run = RunFolder(out, small_config("colt"))
    sample = Sample(np.eye(6, dtype=np.float16), np.arange(6), np.arange(6, dtype=np.int8) % 3)
    (out / RESULTS).write_bytes(_records(checksums=True))
    (out / "older.jsonl").write_bytes(_records(checksums=False))
    (out / LOG).write_text("".join(json.dumps(line) + "\n" for line in EPOCHS))
    (out / CONFIG).write_text(json.dumps(run.config.to_json()))
    (out / "export.json").write_text(json.dumps({"architecture": "tiny-resnet8", "tailbench": run.config.to_json()}))
    (out / TRAINING).write_text(json.dumps(FACTS))
    (out / POOL).write_text("emoji, 3786 images, sha256 364540bbfb39\n")
    (out / OLD_PASSPORT).write_text(PASSED.text())
    write_passport(out, PASSED)
    save_class_quantiles(out, {"weight": np.arange(9.0), "loss": np.ones(9)}, np.arange(9) % 3, 3)
    save_sample(out, sample)
    embedding(out, sample)
    np.save(out / "pool.npy", np.zeros((4, 8, 8, 3), dtype=np.uint8))
    (out / "list.txt").write_text("".join(f"train/class{c}/{i}.jpg {c}\n" for c in range(3) for i in range(4)))
    (out / "metadata.csv").write_text("file_name,label\n" + "".join(f"{i}.png,{'abc'[i % 3]}\n" for i in range(9)))
    rows = [{"file_name": f"{i}.png", "label": i % 3} for i in range(9)]
    (out / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    samples = {
        "a.png": b"1",
        "a.cls": b"7",
        "b.png": b"2",
        "b.json": b'{"label": "cat"}',
        "größe" * 30 + ".jpg": b"",
        "c.txt": b"",
    }
    write_tar(out / "shard.tar", samples | {"größe" * 30 + ".cls": b"dog"})
    (out / "train2018.json").write_text(json.dumps(ANNOTATIONS))
    (out / "published.csv").write_bytes(b"".join(FILE.read_bytes().splitlines(keepends=True)[:6]))
    network = nn.Linear(2, 2)
    with CheckpointWriter(
        out / CHECKPOINT, run.config.run_id, network, SGD(network.parameters()), torch.device("cpu")
    ) as writer:
        writer.save(Progress(unreadable=["a.jpg"]))
    (out / "test_labels.json").write_text(json.dumps([i % 100 for i in range(10_000)]))
    save_file(network.state_dict(), out / "external.safetensors")
    torch.save({"state_dict": network.state_dict()}, out / "external.pth")
    write_lease(out, activity={"phase": "training", "epoch": 1, "epochs": 9, "images_per_second": 2.5, "seconds_left": None})
    save_grid(out, {"digitslt-colt-split1-seed0-0123456789ab": ["knn", "ridge"], "b": []})
    save_options(GridOptions(seeds=[0, 7], set=["recipe.lr=0.1"], out=out), LauncherOptions(time="8:00:00"), 60.0)
    (out / "options.toml").write_text('methods = ["simclr", "ts"]\nseeds = "0-2"\ncompile = true\ntime = 08:00:00\n')
    (out / "settings").write_text("temperature=cosine:0.1:1.0:20%\nsizes=16,24\nlr=1e-3\nbudget=7\nwarmup=5%\noptimizer=sgd")

    lines = [Raw(line) for line in _records(checksums=True).splitlines()]
    facts = {"date": "2026-01-01", "sources": {"methods/colt.py": "0" * 64}, "versions": {"torch": "2"}}
    write_submission(out / "submission.json", Submission(name="mine", configs=[run.config.to_json()], records=lines, **facts))
    spread = {"sd": 0.5, "mean": -0.1, "largest": 1.5, "runs": 9, "devices": ["a", "b"]}
    (out / SPREADS).write_text(json.dumps({"cifar10lt/cpu": {"ridge": spread}}))

    def config(file: Path) -> None:
        read_unfinished(file.parent)
        read_texts(file.parent)
        read_config(file.parent)

    def log(file: Path) -> None:
        read_history(file.parent)
        try:
            RunFolder(file.parent, run.config).last_epoch()
        finally:
            resume_log(file, 3)

    def old_passport(file: Path) -> None:
        (file.parent / PASSPORT).unlink(missing_ok=True)
        upgrade_passport(file.parent, PASSED)

    parse = {
        RESULTS: lambda file: read_records([file], warn=False),
        "older.jsonl": lambda file: read_records([file], warn=False),
        LOG: log,
        CONFIG: config,
        "export.json": read_export,
        PASSPORT: lambda file: read_passport(file.parent),
        OLD_PASSPORT: old_passport,
        TRAINING: lambda file: RunFolder(file.parent, run.config).training_facts(),
        POOL: lambda file: RunFolder(file.parent, run.config).pool(),
        CLASS_QUANTILES: lambda file: load_class_quantiles(file.parent),
        FEATURE_SAMPLE: lambda file: load_sample(file.parent),
        EMBEDDING: lambda file: embedding(file.parent, sample),
        "pool.npy": read_array,
        "list.txt": lambda file: check_index_file(read_index_file(file), 3),
        "metadata.csv": csv_rows,
        "metadata.jsonl": json_rows,
        "shard.tar": lambda file: read_shards(file.parent, [file.name], [".jpg", ".png"]),
        "train2018.json": read_annotations,
        "published.csv": read_published,
        CHECKPOINT: lambda file: read_checkpoint(file, run.config.run_id),
        "test_labels.json": lambda file: cifar100._fine_labels(file.parent, "test"),
        "external.safetensors": read_tensors,
        "external.pth": read_tensors,
        LEASE: lambda file: current_lease(file.parent),
        GRID: lambda file: statuses(file.parent),
        OPTIONS_FILE: read_options,
        "options.toml": read_options,
        "settings": _settings,
        "submission.json": read_submission,
        SPREADS: lambda file: read_spreads(file.parent),
    }
    return {name: (out / name, function) for name, function in parse.items()}


def _inputs(valid: bytes, count: int, seed: str) -> Iterator[bytes]:
    stream = random.Random(seed)
    yield valid
    yield from extremes(valid)
    for _ in range(count):
        yield mutate(valid, stream)


def _fuzz(parsers, count: int, folder: Path, monkeypatch) -> tuple[int, dict[str, int]]:
    """Parses `count` mutations for each parser; returns the number of inputs, and of refused ones by parser."""
    monkeypatch.setattr("reports.figures.tsne.embed", lambda features: np.zeros((len(features), 2), dtype=np.float32))
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    logging.disable(logging.CRITICAL)
    total, refused = 0, dict.fromkeys(parsers, 0)
    try:
        for name, (valid, parse) in parsers.items():
            file = folder / name
            for content in _inputs(valid.read_bytes(), count, f"{SEED}/{name}"):
                file.write_bytes(content)
                started = time.monotonic()
                total += 1
                try:
                    parse(file)
                except UserError as error:
                    refused[name] += 1
                    if len(str(error).splitlines()) != 1:
                        pytest.fail(f"{name}: {error!r} for {content[:2000]!r}")
                except Exception as error:
                    pytest.fail(f"{name}: {error!r} for {content[:3000]!r}", pytrace=True)
                assert time.monotonic() - started < SLOWEST, (name, content[:2000])
            file.unlink(missing_ok=True)
    finally:
        logging.disable(logging.NOTSET)
    return total, refused


def test_valid_files_are_accepted(parsers):
    for file, parse in parsers.values():
        parse(file)


def test_two_thousand_damaged_files(parsers, tmp_path, monkeypatch):
    total, refused = _fuzz(parsers, 80, tmp_path, monkeypatch)
    assert total >= 2000
    # records and epochs are skipped and counted, damaged embeddings are computed again, and a damaged lease has an age
    assert {name for name, count in refused.items() if not count} == {RESULTS, "older.jsonl", EMBEDDING, POOL, LEASE}


@pytest.mark.slow
def test_twenty_thousand_damaged_files(parsers, tmp_path, monkeypatch):
    total, _ = _fuzz(parsers, 1000, tmp_path, monkeypatch)
    assert total >= 20_000
