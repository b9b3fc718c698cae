"""The Python interface has the folders, ids, numbers and messages of the command line."""

import ast
import inspect
import re
from dataclasses import fields

import msgspec
import numpy as np
import pytest
import timm
import torch
from PIL import Image

import bench
import tailbench
from commands.export import export
from commands.titles import method_title
from core.errors import UserError
from core.version import version_text
from data.datasets.digitslt import DigitsLT
from data.views.backend import BACKENDS
from grid.options import GridOptions
from grid.plan import make_plan
from run_store.loading import load_trained_backbone
from run_store.records import GeometryRecord
from tailbench.tables import table
from tests.conftest import ROOT
from tests.reports.made import made_grid
from tests.trained_run import trained_run

SMOKE = {"preset": "smoke", "precision": "fp32", "epochs": 2, "batch_size": 64, "device": "cpu", "probes": "knn"}
OPTIONS = ["--datasets", "digitslt", "--preset", "smoke", "--precision", "fp32", "--batch-size", "64", "--device", "cpu"]
OPTIONS += ["--epochs", "2", "--probes", "knn"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run by `train`, with a hyper-parameter and a field of the recipe."""
    out = tmp_path_factory.mktemp("runs")
    return tailbench.train("sdclr", "digitslt", seed=3, hparams={"prune": 0.5}, recipe={"weight_decay": 1e-3}, out=out, **SMOKE)


def _line(function, *arguments, **options):
    with pytest.raises(UserError) as raised:
        function(*arguments, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_run_is_that_of_the_command_line(trained, tmp_path):
    changes = ("--methods", "sdclr", "--seeds", "3", "--set", "sdclr.prune=0.5", "recipe.weight_decay=1e-3")
    assert bench.main(["run", *OPTIONS, *changes, "--out", str(tmp_path)]) == 0
    (folder,) = tmp_path.glob("digitslt-*")
    assert folder.name == trained.path.name
    assert folder.name.endswith(f"-{trained.run_id}")
    for name in ("config.json", "weights.safetensors"):
        assert (folder / name).read_bytes() == (trained.path / name).read_bytes()
    assert tailbench.results(tmp_path).equals(tailbench.results(trained.path.parent))


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"method": "byol"}, "--methods byol"),
        ({"split": 2, "variant": "own"}, "--splits 2 --variants own"),
        ({"seed": 4, "backbone": "timm/resnet18"}, "--seeds 4 --backbone resnet18"),
        ({"recipe": {"sizes": (8, 16), "lr": 1}}, "--set recipe.sizes=8,16 recipe.lr=1"),
        ({"recipe": {"sizes": [8, 16], "lr": 1}}, "--set recipe.sizes=8,16 recipe.lr=1"),
        ({"hparams": {"temperature": 1}}, "--set simclr.temperature=1"),
    ],
)
def test_ids_are_those_of_the_command_line(settings, options, tmp_path, monkeypatch):
    planned = []

    def keep(grid_options):
        planned.append(make_plan(grid_options))
        raise KeyboardInterrupt

    monkeypatch.setattr("tailbench.runs.make_plan", keep)
    monkeypatch.setattr("grid.plan.make_plan", keep)
    given = {"method": "simclr", "dataset": "digitslt", "out": str(tmp_path), **SMOKE, **settings}
    with pytest.raises(KeyboardInterrupt):
        tailbench.train(**given)
    methods = [] if "method" in settings else ["--methods", "simclr"]
    assert bench.main(["run", *OPTIONS, "--out", str(tmp_path), *methods, *options.split()]) == 130
    own, command = planned
    assert [run.path for run in own.runs] == [run.path for run in command.runs]
    assert own.probes == command.probes


def test_a_finished_run_is_returned_without_training(trained, monkeypatch):
    monkeypatch.setattr("grid.execute._train", None)
    settings = {"hparams": {"prune": 0.5}, "recipe": {"weight_decay": 1e-3}, "out": trained.path.parent}
    assert tailbench.train("sdclr", "digitslt", seed=3, **settings, **SMOKE) == trained


def test_a_run_has_records_and_its_backbone(trained):
    (record,) = trained.records
    assert (record.run_id, record.probe, record.method) == (trained.run_id, "knn", "sdclr")
    assert trained.config.seed == 3
    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert trained.backbone()(x).shape == (2, 64)


def test_train_leaves_the_threads_of_the_process(tmp_path):
    before = torch.get_num_threads()
    tailbench.train("simclr", "digitslt", workers=before + 1, out=tmp_path, **SMOKE | {"epochs": 0})
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "simclrr"}, "no method matches 'simclrr'; did you mean 'simclr'?"),
        ({"method": "all"}, "all on digitslt is 7 runs"),
        ({"dataset": "digits"}, "no dataset matches 'digits'; did you mean 'digitslt'?"),
        ({"epoch": 3}, "no option 'epoch'; did you mean 'epochs'?"),
        ({"splits": [1]}, "no option 'splits'; did you mean 'split'?"),
        ({"jobs": 2}, "no option 'jobs'"),
        ({"epochs": "3"}, "Expected `int | null`, got `str` - at `$.epochs`"),
        ({"seed": 0.5}, "at `$.seeds[0]`"),
        ({"preset": "tiny"}, "Invalid enum value 'tiny' - at `$.preset`"),
        ({"out": 3}, "at `$.out`"),
        ({"hparams": {"temprature": 1}}, "simclr has no setting 'temprature'; did you mean 'temperature'?"),
        ({"recipe": {"lr": -1}}, "recipe.lr=-1"),
        ({"split": 9}, "splits 1 to 5, not 9"),
        ({"backbone": "resnet81"}, "did you mean 'resnet18', "),
        ({"probes": 3}, "at `$.probes`"),
        ({"probes": ["kn"]}, "no probe matches 'kn'; did you mean 'knn'?"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_written(settings, message, tmp_path):
    given = {"method": "simclr", "dataset": "digitslt", "out": tmp_path / "runs", **SMOKE, **settings}
    assert message in _line(tailbench.train, **given)
    assert not (tmp_path / "runs").exists()


def test_a_failed_run_is_an_error(tmp_path, monkeypatch):
    def fails(*arguments):
        raise ValueError("a bug")

    monkeypatch.setattr("grid.execute._train", fails)
    assert "failed: ValueError: a bug; see " in _line(tailbench.train, "simclr", "digitslt", out=tmp_path, **SMOKE)


def test_every_option_of_run_is_an_argument_of_train():
    own = set(inspect.signature(tailbench.train).parameters)
    plural = {"methods": "method", "datasets": "dataset", "variants": "variant", "splits": "split", "seeds": "seed"}
    explained = tailbench.train.__doc__
    for field in fields(GridOptions):
        if field.name not in {"set", "jobs", "accumulate", "compile", "monitor_every"}:
            assert plural.get(field.name, field.name) in own or field.name in explained


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_the_transform_of_a_run_is_that_of_its_probes(trained, mode):
    model, transform = tailbench.load(trained)
    levels = DigitsLT().load(None).test[5]
    image = Image.fromarray(levels.transpose(1, 2, 0)).convert(mode)
    probed = BACKENDS["torch"]([]).evaluate(torch.from_numpy(levels)[None], DigitsLT.evaluation)[0]
    if mode != "P":  # of 256 levels
        assert torch.equal(transform(image), probed)
    large = transform(image.resize((40, 32)))
    assert (large.shape, large.dtype) == ((3, 16, 16), torch.float32)
    with torch.no_grad():
        assert model(large[None]).shape == (1, 64)
    assert not model.training


@pytest.mark.parametrize("network", ["tiny-resnet8", "resnet18"])
def test_runs_and_exports_load_the_same_network(network, tmp_path):
    run = trained_run(tmp_path, backbone=network)
    tailbench.probe(run.path, probes="knn", device="cpu")
    loaded = [tailbench.load(path).model for path in (run.path, str(run.path), export(run.path))]
    expected = load_trained_backbone(run).state_dict()
    for model in loaded:
        assert model.state_dict().keys() == expected.keys()
        assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


def test_what_cannot_be_loaded_is_one_line(trained, tmp_path):
    assert "is not a run folder" in _line(tailbench.load, tmp_path)
    run = trained_run(tmp_path)
    tailbench.probe(run.path, probes="knn", device="cpu")
    folder = export(run.path)
    (folder / "model.safetensors").write_bytes(b"x")
    assert "is damaged" in _line(tailbench.load, folder)
    (folder / "config.json").write_text("{}")
    assert "config.json is damaged" in _line(tailbench.load, folder)


def test_results_are_the_accuracies_of_the_records(trained):
    table = tailbench.results(str(trained.path.parent))
    assert list(table) == [
        "method", "benchmark", "variant", "split", "seed", "preset", "probe", "all", "many", "medium", "few", "std", "run_id",
        "true_labels", "title",
    ]  # fmt: skip
    (record,) = trained.records
    (row,) = table.itertuples(index=False)
    assert row[:7] == ("sdclr", "digitslt", "own", 1, 3, "smoke", "knn")
    assert row[7:13] == (record.mean, record.many, record.medium, record.few, record.group_std, record.run_id)
    assert row[13:] == (False, method_title(record))
    assert (table[["all", "many", "medium", "few", "std"]].dtypes == np.float64).all()


def test_titles_of_results_tell_hyper_parameters_and_ablations_apart():
    records = [
        msgspec.structs.replace(record, hparams=record.hparams | changes, true_labels=labels)
        for record in made_grid(["simclr"], splits=1, seeds=1, probes=("ridge",))
        for changes, labels in (({}, False), ({"temperature": 0.7}, False), ({}, True))
    ]
    found = table(records)
    assert found["title"].tolist() == [method_title(record) for record in records]
    assert found["title"].nunique() == 3
    assert found["title"][1] == "SimCLR (temperature=0.7)"
    assert found["title"][2].endswith(" [true labels]")
    assert found["true_labels"].tolist() == [False, False, True]
    assert table([]).columns.tolist() == found.columns.tolist()


def test_the_version_is_that_of_the_command_line():
    assert version_text().split()[1] == tailbench.__version__


def test_a_folder_without_results_is_an_error(tmp_path):
    assert "has no records" in _line(tailbench.results, tmp_path)
    assert "does not exist" in _line(tailbench.results, tmp_path / "no")


def test_probe_has_the_results_of_the_command(trained, tmp_path):
    own = tailbench.probe(trained, probes="knn", device="cpu")
    assert own.equals(tailbench.results(trained.path.parent))
    other = tailbench.probe(trained.path, "digitslt", split=2, probes=["knn"], device="cpu", out=tmp_path)
    assert other.equals(tailbench.results(tmp_path))
    assert other["split"].tolist() == [2]


def test_a_network_in_memory_has_the_accuracies_of_its_run(tmp_path):
    run = trained_run(tmp_path / "runs")
    own = tailbench.probe(run.path, probes=["knn", "ridge", "geometry"], device="cpu")
    model = load_trained_backbone(run).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = tailbench.probe(model, "digitslt", probes=["knn", "ridge", "geometry"], device="cpu", data_root=tmp_path / "data")
    numbers = ["probe", "all", "many", "medium", "few", "std"]
    assert found[numbers].equals(own[numbers])
    assert set(found["method"]) == {"external"}
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [entry.name for entry in tmp_path.iterdir()] == ["runs"]
    assert any(isinstance(record, GeometryRecord) for record in run.records())


def test_any_module_of_features_is_probed():
    (row,) = tailbench.probe(torch.nn.Flatten(), "digitslt", probes="knn", device="cpu").itertuples()
    assert row.all > 50


@pytest.mark.parametrize(
    ("network", "options", "message"),
    [
        (torch.nn.Identity(), {}, "Identity returns a tensor of shape (2, 3, 16, 16) for 2 images"),
        (torch.nn.Flatten(0), {}, "one feature vector per image"),
        (torch.nn.Linear(3, 4), {}, "Linear does not support images of 16 px"),
        (timm.create_model("vit_tiny_patch16_224", num_classes=0), {}, "VisionTransformer does not support images of 16 px"),
        (torch.nn.Flatten(), {"backbone": "resnet18"}, "have no effect on a network in memory"),
        (torch.nn.Flatten(), {"out": "x"}, "have no effect on a network in memory"),
        (torch.nn.Flatten(), {"probes": "kn"}, "did you mean 'knn'?"),
        (torch.nn.Flatten(), {"split": 9}, "splits 1 to 5, not 9"),
    ],
)
def test_a_mistake_in_probe_is_one_line(network, options, message):
    assert message in _line(tailbench.probe, network, "digitslt", **{"probes": "knn", "device": "cpu"} | options)


@pytest.mark.parametrize("document", ["README.md", "docs/python.md"])
def test_calls_in_a_document_have_the_signature(document):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    calls = [node for block in blocks for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Call)]
    calls = [call for call in calls if ast.unparse(call.func).startswith("tailbench.")]
    assert len(calls) >= 4
    options = {field.name for field in fields(GridOptions)}
    for call in calls:
        function = getattr(tailbench, call.func.attr)
        named = {keyword.arg: keyword.value for keyword in call.keywords}
        bound = inspect.signature(function).bind(*call.args, **named)
        assert bound.arguments.get("options", {}).keys() <= options


def test_public_names_have_docstrings():
    for name in tailbench.__all__:
        assert inspect.getdoc(getattr(tailbench, name))
