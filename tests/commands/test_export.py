import ast
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
import yaml
from PIL import Image

from commands.export import export
from core.errors import UserError
from core.files import write_atomic
from data.datasets.digitslt import DigitsLT
from data.image_files import ImageFiles
from data.variants import with_variants
from data.views.backend import BACKENDS
from data.views.spec import Evaluation
from probing.probe_path import probe_path
from run_store.passport import write_passport
from tests.trained_run import trained_run
from training.prepare import build_method


@pytest.fixture(scope="module")
def x():
    return torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def _finished(out, method="simclr", **changes):
    run = trained_run(out, method, **changes)
    probe_path(run.path, probes=["knn"], device="cpu")
    return run


def _features(network, x):
    with torch.no_grad():
        return network.eval()(x)


def _method(run):
    """The trained method of a run."""
    method = build_method(run.config, run.records()[0].n_pretrain)
    run.load_weights(method)
    return method.eval()


def _backbone(run):
    return _method(run).backbone


def _imported(code):
    """Top-level names of the modules that the code imports."""
    nodes = list(ast.walk(ast.parse(code)))
    modules = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    return {module.partition(".")[0] for module in modules}


def _run_card_code(folder, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    assert _imported(code) <= {"timm", "torch", "safetensors"}
    names = {}
    with monkeypatch.context() as patched:
        patched.chdir(folder)
        exec(code, names)
    return names


def _load_with_card_code(folder, monkeypatch):
    return _run_card_code(folder, monkeypatch)["model"]


@pytest.mark.parametrize(
    ("method", "network"),
    [
        ("simclr", "resnet18"),
        ("simclr", "slim-resnet8"),
        ("simclr", "mobilenetv3_small_050"),
        ("simclr", "densenet121"),
        ("simclr", "fast-resnet8"),
        ("sdclr", "tiny-resnet8"),
        ("byol", "tiny-resnet8"),
        ("sdclr+colt", "tiny-resnet8"),
    ],
)
def test_code_of_the_model_card_gives_bit_identical_features(method, network, x, tmp_path, monkeypatch):
    run = _finished(tmp_path, method, backbone=network)
    folder = export(run.path)
    assert folder == tmp_path / "exports" / run.path.name
    assert {file.name for file in folder.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    model, own = _load_with_card_code(folder, monkeypatch), _backbone(run)
    assert model.state_dict().keys() == own.state_dict().keys()
    assert torch.equal(_features(model, x), _features(own, x))
    config = json.loads((folder / "config.json").read_text())
    assert (config["num_classes"], config["num_features"]) == (0, _features(own, x).shape[1])
    assert not timm.is_model(config["architecture"])
    with pytest.raises(RuntimeError, match="Unknown model"):
        timm.create_model(f"local-dir:{folder}", pretrained=True)
    if network == "resnet18":
        with pytest.raises(RuntimeError, match=r"size mismatch for conv1\.weight"):
            timm.create_model("resnet18", num_classes=0, checkpoint_path=folder / "model.safetensors")


@pytest.mark.parametrize("crop", [None, 96])
def test_the_transform_of_the_model_card_is_that_of_the_probes(crop, tmp_path, monkeypatch, photographs):
    if crop:
        monkeypatch.setattr(DigitsLT, "image_size", crop)
        monkeypatch.setattr(DigitsLT, "evaluation", Evaluation(resize=110, crop=crop, interpolation="bicubic"))
    run = _finished(tmp_path)
    transform = _run_card_code(export(run.path), monkeypatch)["transform"]
    evaluation = DigitsLT.evaluation if crop else replace(DigitsLT.evaluation, resize=16, crop=16)
    for image in photographs[:3]:
        probed = BACKENDS["torch"]([]).evaluate(ImageFiles([image.numpy()]), evaluation)
        shown = transform(Image.fromarray(image.permute(1, 2, 0).numpy()))
        assert torch.allclose(shown, probed[0], atol=1e-6)


def test_sdclr_exports_the_dense_network_with_its_own_norms(x, tmp_path, monkeypatch):
    run = _finished(tmp_path, "sdclr")
    method = _method(run)
    model = _load_with_card_code(export(run.path), monkeypatch)
    norms = {name: part for name, part in model.named_modules() if isinstance(part, torch.nn.BatchNorm2d)}
    for (name, norm), other in zip(norms.items(), method.competitor.norms, strict=True):
        assert torch.equal(norm.running_mean, method.backbone.get_submodule(name).running_mean)
        assert not torch.equal(norm.running_mean, other.running_mean)
    assert all(part.weight.all() for part in model.modules() if isinstance(part, torch.nn.Conv2d))  # nothing is masked
    with torch.no_grad():
        assert not torch.allclose(_features(model, x), method.competitor(method.backbone, x))


@pytest.mark.parametrize("network", ["resnet18", "mobilenetv3_small_050"])
def test_timm_loads_networks_for_large_images(network, x, tmp_path, monkeypatch):
    monkeypatch.setattr(DigitsLT, "image_size", 96)
    run = _finished(tmp_path, backbone=network)
    folder = export(run.path, tmp_path / "timm")
    own = _features(_backbone(run), x)
    assert "backbones" not in (folder / "README.md").read_text().partition("## Results")[0]
    assert torch.equal(_features(_load_with_card_code(folder, monkeypatch), x), own)
    # the hub's way of reading config.json, from a folder
    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    assert torch.equal(_features(model, x), own)
    shown = timm.data.resolve_model_data_config(model)
    assert (tuple(shown["input_size"]), shown["crop_pct"]) == ((3, 96, 96), 1.0)
    assert tuple(shown["mean"]) == DigitsLT.evaluation.mean


def test_timm_computes_other_features_with_the_weights_of_a_small_stem(x, tmp_path):
    """A case that the model card warns of: timm's stem is 3x3 too, with stride 2."""
    run = _finished(tmp_path, backbone="mobilenetv3_small_050")
    file = export(run.path) / "model.safetensors"
    other = timm.create_model("mobilenetv3_small_050", num_classes=0, checkpoint_path=file)
    assert not torch.allclose(_features(other, x), _features(_backbone(run), x))


def test_the_model_card_has_setting_and_results(tmp_path):
    run = _finished(tmp_path)
    probe_path(run.path, probes=["ridge"], device="cpu")
    text = (export(run.path) / "README.md").read_text()
    _, header, body = text.split("---\n", 2)
    header = yaml.safe_load(header)
    assert header["library_name"] == "pytorch"
    assert header["pipeline_tag"] == "image-feature-extraction"
    assert {"simclr", "digitslt"} <= set(header["tags"])
    assert body.lower().count("smoke-scale") >= 3
    rows = {line.split("|")[1].strip(): line for line in body.splitlines() if line.startswith(("| knn", "| ridge"))}
    for record in run.records():
        assert f"{record.few:.1f}" in rows[record.probe]
        assert f"{record.n_test}" in rows[record.probe]
    assert "split 1 (not official), seed 0" in body
    assert with_variants(run.records()[0].data) in body
    assert run.passport().text() in body
    assert json.dumps(run.config.to_json(), indent=2) in body


def test_untrained_and_unfinished_runs_are_errors(tmp_path):
    def error(path, *to):
        with pytest.raises(UserError) as raised:
            export(path, *to)
        assert "\n" not in str(raised.value)
        return str(raised.value)

    run = trained_run(tmp_path / "a")
    assert "is not complete" in error(run.path)
    run.facts.unlink()
    assert "is not complete" in error(run.path)
    untrained = trained_run(tmp_path / "b", epochs=0)
    probe_path(untrained.path, probes=["knn"], device="cpu")
    assert "untrained network (0 epochs)" in error(untrained.path)
    assert error(tmp_path).endswith("is not a run folder: it has no config.json; give a run folder")
    done = _finished(tmp_path / "c")
    assert "is an export; probe its model.safetensors with --backbone tiny-resnet8" in error(export(done.path))
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("x")
    assert "is not empty" in error(done.path, full)
    done.results.unlink()
    assert "has no record" in error(done.path)


def test_an_export_is_atomic(tmp_path, monkeypatch):
    run = _finished(tmp_path)

    def fails(path, write):
        if path.name == "README.md":
            raise UserError("no space left")
        write_atomic(path, write)

    with monkeypatch.context() as patched:
        patched.setattr("core.files.write_atomic", fails)
        with pytest.raises(UserError, match="no space left"):
            export(run.path)
    assert list((tmp_path / "exports").iterdir()) == []
    (tmp_path / "exports" / run.path.name).mkdir()
    export(run.path)
    assert len(list((tmp_path / "exports" / run.path.name).iterdir())) == 3


def test_an_export_may_be_the_current_folder(tmp_path, monkeypatch):
    run = _finished(tmp_path / "runs")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert export(run.path, Path(".")) == tmp_path / "here"
    assert (tmp_path / "here" / "README.md").exists()


def test_the_folder_of_the_images_is_not_published(tmp_path):
    run = _finished(tmp_path)
    probe_path(run.path, probes=["knn"], device="cpu")
    passport = run.passport()
    private = replace(passport, source=replace(passport.source, place="/home/me/secret"))
    assert "/home/me/secret" in private.text()
    write_passport(run.path, private)
    text = (export(run.path) / "README.md").read_text()
    assert "secret" not in text
    assert passport.text() in text
