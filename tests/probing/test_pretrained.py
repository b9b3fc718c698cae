import json
import logging
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

import bench
from core.errors import UserError
from data.benchmark import Source
from data.cache import DataCache
from data.passport import Passport
from probing.pretrained import UNKNOWN
from probing.probe_path import probe_path
from probing.selection import needed_lists
from run_store.layout import RESULTS
from run_store.loading import load_trained_backbone, open_run
from run_store.passport import write_passport
from run_store.records import read_records
from tests.trained_run import trained_run
from training.prepare import build_method

DIGITS = {"datasets": ["digitslt"], "probes": ["knn"], "device": "cpu"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained run, probed on its own data."""
    folder = trained_run(tmp_path_factory.mktemp("runs"))
    assert probe_path(folder.path, probes=["knn"], device="cpu") == [(folder.path, folder.config.run_id)]
    return folder


@pytest.fixture
def file(run, tmp_path):
    save_file(
        _under("module.", load_trained_backbone(run).state_dict()) | {"fc.bias": torch.zeros(3)},
        tmp_path / "external.safetensors",
    )
    return tmp_path / "external.safetensors"


def _under(prefix, weights):
    return {prefix + name: tensor for name, tensor in weights.items()}


def _error(path, **options):
    with pytest.raises(UserError) as raised:
        probe_path(path, **({"device": "cpu", "out": path.parent / "probed"} | options))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_missing_probes_of_a_run_are_added(run, tmp_path, monkeypatch):
    again = trained_run(tmp_path)
    probe_path(again.path, probes=["knn"], device="cpu")
    assert again.state(["knn"]) == "DONE"
    before = again.results.read_text()
    probe_path(again.path, probes=["knn", "ridge"], device="cpu")
    after = again.results.read_text()
    assert after.startswith(before)
    assert [record.probe for record in again.records()] == ["knn", "ridge"]
    assert again.records()[0].class_accuracy == run.records()[0].class_accuracy
    monkeypatch.setattr("probing.probe_path.probe_run", None)
    probe_path(again.path, probes=["knn", "ridge"], device="cpu")
    assert again.results.read_text() == after


def test_targets_before_an_error_are_reported(file, tmp_path, monkeypatch, capsys):
    load = DataCache.split

    def split(self, dataset, profile, number, needs):
        if number == 2:
            raise UserError("no images")
        return load(self, dataset, profile, number, needs)

    monkeypatch.setattr(DataCache, "split", split)
    command = ["probe", str(file), "--backbone", "tiny-resnet8", "--device", "cpu", "--probes", "knn", "--datasets", "digitslt"]
    assert bench.main([*command, "--splits", "1", "2", "--out", str(tmp_path / "runs")]) == 2
    printed = capsys.readouterr()
    assert "test accuracy in %, probe knn" in printed.out
    assert (tmp_path / "runs" / "report.html").exists()
    assert printed.err.splitlines()[-1] == "bench.py: no images"


def test_out_is_refused_for_the_data_of_a_run(run, tmp_path):
    message = f"--out {tmp_path}: results on the data of a run are written to its folder, {run.path}; omit --out"
    assert _error(run.path, probes=["knn"], out=tmp_path) == message
    probe_path(run.path, probes=["knn"], device="cpu", out=run.path.parent)


def test_weights_of_a_file_have_the_accuracies_of_their_run(run, file, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    ((folder, run_id),) = probe_path(file, backbone="tiny-resnet8", out=tmp_path / "runs", **DIGITS)
    assert "loaded external.safetensors into tiny-resnet8; ignored tensors: fc.bias" in caplog.text
    assert folder.name == f"digitslt-external-split1-seed0-{run_id}"
    assert {"config.json", "passport.json", "results.jsonl"} <= {entry.name for entry in folder.iterdir()}
    (record,), (own,) = _all(tmp_path / "runs"), run.records()
    assert (record.class_accuracy, record.correct) == (own.class_accuracy, own.correct)
    assert (record.run_id, record.method, record.preset) == (run_id, "external", "external")
    assert record.hparams["file"] == "external.safetensors"
    assert record.hparams["prefix"] == "module."
    assert len(record.hparams["sha256"]) == 12
    assert all(getattr(record, name) is None for name in UNKNOWN)
    assert record.recipe == dict.fromkeys(own.recipe) | {"backbone": "tiny-resnet8"}
    assert record.extra_images == 0
    for name in ("data", "passport", "class_counts", "group_sizes", "n_test", "backbone", "precision"):
        assert getattr(record, name) == getattr(own, name)


def test_the_same_weights_are_probed_once(run, file, tmp_path, monkeypatch):
    options = DIGITS | {"backbone": "tiny-resnet8", "out": tmp_path / "runs", "splits": [1, 2]}
    first = probe_path(file, **options)
    assert len(first) == 2
    renamed = file.rename(tmp_path / "other.safetensors")
    with monkeypatch.context() as patched:
        patched.setattr("probing.probe_path.probe_backbone", None)
        assert probe_path(renamed, **options) == first
    weights = load_trained_backbone(run).state_dict()
    save_file({name: 2 * tensor if name.endswith("bias") else tensor for name, tensor in weights.items()}, renamed)
    assert not set(probe_path(renamed, **options)) & set(first)
    assert len(_all(tmp_path / "runs")) == 4


def test_records_of_another_split_name_the_training_split(run, tmp_path):
    ((folder, run_id),) = probe_path(run.path, splits=[2], probes=["knn"], device="cpu", out=tmp_path)
    (record,), (own,) = _all(tmp_path), run.records()
    assert folder.name == f"digitslt-simclr-split2-seed0-{run_id}"
    assert run_id != run.config.run_id
    assert (record.split, own.split) == (2, 1)
    assert record.passport != own.passport
    assert record.recipe == own.recipe | {"pretrained_on": "digitslt (profile own) split 1"}
    for name in ("method", "hparams", "preset", "epochs", "n_pretrain", "pretrain_sha256", "train_seconds", "images_seen"):
        assert getattr(record, name) == getattr(own, name)
    config = json.loads((folder / "config.json").read_text())
    assert config["weights"]["run"] == run.config.run_id
    assert config["weights"]["pretrained_on"] == run.config.to_json()
    assert "has records of simclr on digitslt split 1 seed 0 and is not a run folder" in _error(folder)


def test_an_opened_run_equals_the_trained_one(tmp_path):
    for method, hparams in (("simclr", {"temperature": "cosine:0.1:1.0:20%"}), ("sdclr", {}), ("byol", {"hidden_dim": 8})):
        run = trained_run(tmp_path, method, hparams=hparams)
        opened = open_run(run.path)
        assert opened.config.to_json() == run.config.to_json()
        made = build_method(opened.config, 372)
        opened.load_weights(made)
        pairs = zip(load_trained_backbone(opened).state_dict().values(), made.backbone.state_dict().values(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_records_of_other_data_are_not_mixed(file, tmp_path):
    options = DIGITS | {"backbone": "tiny-resnet8", "out": tmp_path / "runs"}
    ((folder, _),) = probe_path(file, **options)
    passport = folder / "passport.json"
    kept = Passport.from_json(json.loads(passport.read_text()))
    write_passport(folder, replace(kept, source=Source("other digits", "sha256 1111")))
    assert "was trained or probed on other data" in _error(file, **options | {"probes": ["ridge"]})


def test_records_of_other_index_lists_are_reported_and_kept(run, file, tmp_path, caplog, monkeypatch):
    options = DIGITS | {"backbone": "tiny-resnet8", "out": tmp_path / "runs"}
    for path, more in ((file, options), (run.path, {"probes": ["knn"], "device": "cpu"})):
        ((folder, _),) = probe_path(path, **more)
        kept = Passport.from_json(json.loads((folder / "passport.json").read_text()))
        with monkeypatch.context() as patched:
            patched.setattr(DataCache, "passport", lambda *_: replace(kept, lists=kept.lists | {"val": (1, "0")}))  # noqa: B023
            caplog.clear()
            assert probe_path(path, **more)[0][0] == folder
        assert "was probed with other index lists (val; passport" in caplog.text


def test_the_lists_of_a_probe_are_those_that_a_grid_loads():
    assert needed_lists(["bcl-100shot"], ()) == {"train", "shot100"}
    assert needed_lists(["bcl-100shot"], {"shot100"}) == {"train"}


def test_errors_have_one_line(run, file, tmp_path):
    assert "give it with --backbone" in _error(file, **DIGITS)
    assert "omit --backbone" in _error(run.path, backbone="resnet18")
    assert f"give the run folder {run.path}" in _error(run.weights, backbone="tiny-resnet8")
    assert "there is no file" in _error(tmp_path / "no.pth", backbone="tiny-resnet8")
    assert _error(tmp_path).endswith("is not a run folder: it has no config.json; give a run folder, or a file of weights")
    assert "omit the option" in _error(run.path, views="torchvision", probes=["ridge"], out=None)
    message = _error(file, backbone="slim-resnet8", **DIGITS)
    assert message.startswith(f"{file} as slim-resnet8 for digitslt: 9 of ")
    assert not (tmp_path / "probed").exists()
    initial = build_method(run.config, 8).backbone.state_dict()
    save_file(initial, tmp_path / "initial.safetensors")
    assert "the network is untrained" in _error(tmp_path / "initial.safetensors", backbone="tiny-resnet8", **DIGITS)


def test_an_incomplete_or_changed_run_is_an_error(tmp_path):
    run = trained_run(tmp_path)
    assert "on its own data is not complete" in _error(run.path, splits=[2])
    text = (run.path / "config.json").read_text()
    (run.path / "config.json").write_text(text.replace('"seed": 0', '"seed": 1'))
    assert "does not match run id" in _error(run.path)
    (run.path / "config.json").write_text(text)
    run.facts.unlink()
    assert "is not complete" in _error(run.path)


def _all(out):
    return read_records(sorted(out.glob(f"*/{RESULTS}")))
