"""Upload and download of exports, with a folder in the place of the Hugging Face hub."""

import json
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

import bench
import tailbench
from commands.export import export
from core.errors import UserError
from run_store.loading import load_trained_backbone
from tests.trained_run import trained_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = trained_run(tmp_path_factory.mktemp("runs"))
    tailbench.probe(folder.path, probes="knn", device="cpu")
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder with one folder per repository."""
    root = tmp_path / "hub"

    def create_repo(repository, *, private, exist_ok):
        assert exist_ok
        if "/" not in repository:
            raise HFValidationError("Repo id must be in the form USER/NAME\nand more")
        (root / repository).mkdir(parents=True, exist_ok=True)
        (root / repository / "private").write_text(str(private))
        return f"https://hub/{repository}"

    def upload_folder(*, repo_id, folder_path, commit_message):
        shutil.copytree(folder_path, root / repo_id, dirs_exist_ok=True)

    def snapshot_download(repository, *, allow_patterns):
        if not (root / repository).exists():
            raise LocalEntryNotFoundError("cannot find the files on the hub")
        cache = Path(tmp_path / "cache" / repository)
        cache.mkdir(parents=True)
        for name in allow_patterns:
            shutil.copy(root / repository / name, cache)
        return str(cache)

    for function in (create_repo, upload_folder, snapshot_download):
        monkeypatch.setattr(huggingface_hub, function.__name__, function)
    return root


def _line(function, *arguments):
    with pytest.raises(UserError) as raised:
        function(*arguments)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def _is_backbone(model, run):
    own = load_trained_backbone(run).state_dict()
    return all(torch.equal(tensor, own[name]) for name, tensor in model.state_dict().items())


def test_a_pushed_backbone_is_loaded(run, hub):
    assert tailbench.push(run.path, "me/digits", private=True) == "https://hub/me/digits"
    assert {file.name for file in (hub / "me/digits").iterdir()} == {"private", "README.md", "config.json", "model.safetensors"}
    assert (hub / "me/digits/private").read_text() == "True"
    assert not (run.path.parent / "exports").exists()
    model, transform = tailbench.load("hf-hub:me/digits")
    assert _is_backbone(model, run)
    assert transform == tailbench.load(run.path).transform


def test_the_command_exports_and_uploads(run, hub, tmp_path, capsys):
    assert bench.main(["export", str(run.path), "--to", str(tmp_path / "export"), "--push", "me/digits"]) == 0
    assert "uploaded: https://hub/me/digits" in capsys.readouterr().out
    assert (hub / "me/digits/README.md").read_text() == (tmp_path / "export/README.md").read_text()


def test_errors_of_the_hub_are_one_line(run, hub, mistake, tmp_path):
    said = "digits on the Hugging Face hub: Repo id must be in the form USER/NAME; check the name, `hf auth whoami`"
    assert said in _line(tailbench.push, run.path, "digits")
    assert said in mistake("export", run.path, "--to", tmp_path / "export", "--push", "digits")
    assert "me/none on the Hugging Face hub: cannot find the files" in _line(tailbench.load, "hf-hub:me/none")
    assert "is not a run folder" in _line(tailbench.push, tmp_path, "me/digits")


def test_a_failed_upload_is_repeated_by_the_same_command(run, hub, mistake, tmp_path, capsys, caplog):
    caplog.set_level("INFO")
    command = ["export", str(run.path), "--to", str(tmp_path / "export"), "--push"]
    assert "check the name" in mistake(*command, "digits")
    written = {file: file.stat().st_mtime_ns for file in (tmp_path / "export").iterdir()}
    assert bench.main([*command, "me/digits"]) == 0
    assert written == {file: file.stat().st_mtime_ns for file in (tmp_path / "export").iterdir()}
    assert "uploaded: https://hub/me/digits" in capsys.readouterr().out
    assert f"{tmp_path / 'export'} is an export of this run and is kept; delete it" in caplog.text
    (tmp_path / "export" / "config.json").write_text('{"tailbench": 1}')
    assert "is not empty; delete it" in mistake(*command, "me/digits")


def test_a_repository_of_another_model_is_refused(run, hub, tmp_path):
    tailbench.push(run.path, "me/other")
    file = hub / "me/other/config.json"
    content = json.loads(file.read_text())
    run_settings = content.pop("tailbench")
    network = run_settings["recipe"] | {"backbone": "resnet18"}
    for changes, said in (
        (None, "is damaged"),
        ({"method": "no"}, "unknown in this version of the suite"),
        ({"dataset": "no"}, "no dataset is named 'no'"),
        ({"hparams": {"x": 1}}, "unknown in this version of the suite"),
        ({"recipe": network}, "keys match"),
    ):
        changed = content if changes is None else content | {"tailbench": run_settings | changes}
        file.write_text(json.dumps(changed))
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        assert said in _line(tailbench.load, "hf-hub:me/other")


def test_an_export_may_be_of_another_folder_name(run, tmp_path):
    folder = export(run.path, tmp_path / "renamed")
    assert _is_backbone(tailbench.load(folder).model, run)
