"""`submit`: what a submission has, and one line for each kind of runs that are refused."""

import json
import shutil

import pytest
from msgspec.structs import replace

import bench
from commands.submit import sources, submit
from data.benchmark import BENCHMARKS
from data.passport import passport_of
from data.sources.cifar10 import SOURCE
from reports.shipped import SHIPPED
from run_store.loading import config_of, run_config
from run_store.passport import write_passport
from run_store.records import accuracies, read_records
from run_store.submission import read_submission

FIELDS = ("method", "hparams", "dataset", "profile", "split", "seed", "preset", "recipe", "precision", "executor")


@pytest.fixture(scope="module")
def shipped():
    """The shipped records of SimCLR with the settings of the preset and seed 0, by split and probe."""
    records = accuracies(read_records([SHIPPED / "cifar10lt" / "cpu.jsonl"]))
    main = {"method": "simclr", "profile": "sdclr", "epochs": 22, "seed": 0}
    return {(r.split, r.probe): r for r in records if all(getattr(r, name) == value for name, value in main.items())}


@pytest.fixture(scope="module")
def passports(cifar10_labels):
    benchmark = BENCHMARKS["cifar10lt"]()
    return {
        split: passport_of(benchmark, "sdclr", split, cifar10_labels, benchmark.lists(cifar10_labels, "sdclr", split), SOURCE)
        for split in range(1, 7)
    }


@pytest.fixture
def out(shipped, passports, tmp_path):
    """Folders of the five runs, as if they were a user's, by split."""
    for split in range(1, 6):
        write(tmp_path / str(split), [record for (of, _), record in shipped.items() if of == split], passports[split])
    return tmp_path


def write(folder, records, data, **changes):
    """Writes the folder of a run on the data of a passport; its id is that of the changed settings."""
    settings = {name: changes.get(name, getattr(records[0], name)) for name in FIELDS}
    config = run_config("test", settings)
    changed = [replace(record, **{"run_id": config.run_id, **changes}) for record in records]
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config.to_json()))
    (folder / "done").write_text(config.run_id)
    (folder / "results.jsonl").write_text("".join(record.to_line() + "\n" for record in changed))
    write_passport(folder, data)


def change(out, split=3, of="ridge", **changes):
    """Replaces fields of one record, with a checksum that fits; without changes, removes the record."""
    file = out / str(split) / "results.jsonl"
    records = read_records([file])
    file.write_text(
        "".join((replace(r, **changes) if r.probe == of else r).to_line() + "\n" for r in records)
        if changes
        else "".join(r.to_line() + "\n" for r in records if r.probe != of)
    )


def edit(out, old, new, name="results.jsonl", split=3):
    """Replaces text of a file."""
    file = out / str(split) / name
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def records_of(out, split):
    return read_records([out / str(split) / "results.jsonl"])


@pytest.mark.parametrize("each", [False, True])
def test_a_submission_has_records_configurations_and_sources(each, out, tmp_path_factory, capsys):
    file = tmp_path_factory.mktemp("written") / "mine.json"
    runs = [str(out / str(split)) for split in range(1, 6)] if each else [str(out)]
    assert bench.main(["submit", *runs, "--name", "My method 1.0", "--out", str(file)]) == 0
    assert f"written: {file}" in capsys.readouterr().out
    submission, records = read_submission(file)
    assert submission.name == "My method 1.0"
    assert {r.split for r in records} == {1, 2, 3, 4, 5}
    assert len(records) == 15
    assert all(config_of(record).to_json() in submission.configs for record in records)
    assert submission.sources == sources("simclr")
    assert list(submission.sources) == ["methods/simclr.py"]
    assert submission.versions == records[0].versions


def test_the_last_record_of_a_probe_is_submitted(out, tmp_path_factory):
    file = out / "1" / "results.jsonl"
    first, *rest = records_of(out, 1)
    file.write_text("".join(r.to_line() + "\n" for r in (replace(first, probe_seconds=999.0), first, *rest)))
    _, records = read_submission(submit([out], "mine", tmp_path_factory.mktemp("written") / "mine.json"))
    assert 999.0 not in {record.probe_seconds for record in records}


def test_sources_are_those_of_all_parts_of_a_method():
    assert set(sources("sdclr+colt")) >= {"methods/sdclr.py", "methods/colt.py"}


REFUSED = {
    "missing split": (lambda out, **_: shutil.rmtree(out / "3"), "split 3 of cifar10lt is missing"),
    "another seed of one split": (
        lambda out, passports: write(out / "more", records_of(out, 1), passports[1], seed=1),
        "have different seeds",
    ),
    "split of this suite": (
        lambda out, passports: write(
            out / "more", records_of(out, 1), passports[6], split=6, official_split=False, passport=passports[6].short
        ),
        "split 6 is not published",
    ),
    "split said to be official": (
        lambda out, passports: write(out / "more", records_of(out, 1), passports[6], split=6, passport=passports[6].short),
        "the passport of the record is not that of the folder",
    ),
    "split of other data": (
        lambda out, passports: write(out / "3", records_of(out, 3), passports[2], passport=passports[2].short),
        "split 3 is not that of the shipped results",
    ),
    "passport of another split": (
        lambda out, passports: write_passport(out / "3", passports[2]),
        "the passport of the record is not that of the folder",
    ),
    "edited accuracy": (lambda out, **_: edit(out, '"mean": ', '"mean": 1'), "wrong checksum"),
    "edited accuracy with a new checksum": (lambda out, **_: change(out, mean=99.0), "mean does not follow from"),
    "edited classes with a new checksum": (lambda out, **_: change(out, class_accuracy=[99.0] * 10), "does not follow from"),
    "no checksum": (lambda out, **_: edit(out, '"sha256"', '"sha"'), "no checksum"),
    "selection on test": (
        lambda out, **_: change(out, protocol="ridge regression, best on test top-1"),
        "its protocol is not the registered one",
    ),
    "no selection on validation": (
        lambda out, **_: change(out, n_val=0, val_accuracy=None, val_class_accuracy=None, chosen="strength 1 on test"),
        "'strength 1 on test' was not chosen on validation images",
    ),
    "training on test images": (lambda out, **_: change(out, n_train=55_000), "n_train is 55000, and 45000"),
    "unregistered probe": (lambda out, **_: change(out, probe="mine"), "the probe is not registered"),
    "mixed preset": (
        lambda out, passports: write(out / "3", records_of(out, 3), passports[3], preset="cpu-long"),
        "differ in preset (cpu and cpu-long)",
    ),
    "mixed recipe": (
        lambda out, passports: write(
            out / "3", records_of(out, 3), passports[3], recipe=records_of(out, 3)[0].recipe | {"lr": 0.01}
        ),
        "differ in recipe",
    ),
    "mixed hyper-parameters": (
        lambda out, passports: write(out / "3", records_of(out, 3), passports[3], hparams={"temperature": 0.5, "out_dim": 128}),
        "differ in hparams",
    ),
    "mixed methods": (
        lambda out, passports: write(
            out / "3", records_of(out, 3), passports[3], method="dcl", hparams={"temperature": 0.1, "out_dim": 128}
        ),
        "differ in method (simclr and dcl)",
    ),
    "mixed versions": (lambda out, **_: change(out, versions={"torch": "1"}), "differ in versions"),
    "missing probe": (lambda out, **_: change(out), "have different probes"),
    "record of another run": (
        lambda out, **_: (out / "3" / "results.jsonl").write_text((out / "2" / "results.jsonl").read_text()),
        "the record is of another run",
    ),
    "edited settings of a record": (lambda out, **_: change(out, hparams={"temperature": 0.5}), "other settings than its id"),
    "edited configuration": (
        lambda out, **_: edit(out, '"temperature": 0.1', '"temperature": 0.5', "config.json"),
        "is not done, or not of its config.json",
    ),
    "unregistered method": (
        lambda out, **_: edit(out, '"method": "simclr"', '"method": "simcrl"', "config.json"),
        "no method is named 'simcrl'",
    ),
    "unfinished run": (lambda out, **_: (out / "3" / "done").unlink(), "is not done"),
    "no records": (lambda out, **_: (out / "3" / "results.jsonl").write_text(""), "has no records"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_runs_are_refused(case, out, passports, mistake, tmp_path_factory):
    make, message = REFUSED[case]
    make(out, passports=passports)
    file = tmp_path_factory.mktemp("refused") / "mine.json"
    assert message in mistake("submit", out, "--name", "mine", "--out", file)
    assert not file.exists()


def test_the_folder_of_a_submission_is_created(out, tmp_path_factory):
    folder = tmp_path_factory.mktemp("new") / "a"
    assert bench.main(["submit", str(out), "--name", "mine", "--out", str(folder / "mine.json")]) == 0
    assert (folder / "mine.json").exists()


def test_a_cut_off_record_is_probed_again_as_the_message_says(out, mistake):
    with (out / "3" / "results.jsonl").open("a") as file:
        file.write('{"format": 2, "me\n')
    message = "restore it, or delete the run's results.jsonl and repeat its `run` command to probe it again"
    assert message in mistake("submit", out, "--name", "mine")


@pytest.mark.parametrize("name", ["", "../mine", "a\nb", "x" * 41, "[bold]"])
def test_names_that_no_table_can_have_are_refused(name, out, mistake):
    assert "--name" in mistake("submit", out, "--name", name)


def test_a_folder_without_runs_is_refused(tmp_path, mistake):
    assert "has no runs" in mistake("submit", tmp_path, "--name", "mine")
    assert "has no runs" in mistake("submit", tmp_path / "missing", "--name", "mine")
