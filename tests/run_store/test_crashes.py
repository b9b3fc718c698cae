"""After a power cut at any moment a run goes on from the last state that was on the disk, or the one before it."""

import json

import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file
from torch import nn
from torch.optim import SGD

import bench
from core.files import append_line, write_text
from run_store.folder import TrainingFacts, folder_of
from run_store.layout import RESULTS
from run_store.records import read_records
from tests.power_cut import Recorder, write_tree
from tests.reports.made import made_record
from tests.run_store.test_folder import passport
from tests.runs import small_config
from training.checkpoint import Progress, has_checkpoint, load_checkpoint, read_latest
from training.checkpoint_writer import CheckpointWriter
from training.device import CPU
from training.loop import train
from training.prepare import prepare

RUN = "0123456789ab"
PROBES = ["knn", "ridge"]


class Model:
    """A layer and its optimiser, whose values are the number of the step."""

    def __init__(self, step=0):
        self.layer = nn.Linear(20, 20)
        self.optimizer = SGD(self.layer.parameters(), lr=0.1, momentum=0.9)
        self.set(step)

    def set(self, step):
        with torch.no_grad():
            for parameter in self.layer.parameters():
                parameter.fill_(step)
                self.optimizer.state[parameter]["momentum_buffer"] = torch.full_like(parameter, step)

    def values(self):
        momenta = [state["momentum_buffer"] for state in self.optimizer.state.values()]
        return {value.item() for tensor in (*self.layer.parameters(), *momenta) for value in tensor.unique()}

    def save(self, path, *steps, run_id=RUN, mark=lambda step: None):
        with CheckpointWriter(path, run_id, self.layer, self.optimizer, CPU) as writer:
            for step in steps:
                self.set(step)
                writer.save(Progress(step=step))
                writer.wait()
                mark(str(step))

    def load(self, path, run_id=RUN):
        """The step of the checkpoint, all of which is of this step; 0 if there is none."""
        if not has_checkpoint(path):
            return 0
        step = load_checkpoint(path, run_id, self.layer, self.optimizer).step
        assert self.values() == {step}
        return step


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A folder in which operations are recorded, and one for the states after power cuts."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # it is recorded; the disk of the test need not wait
    (tmp_path / "recorded").mkdir()
    return tmp_path / "recorded", tmp_path / "recovered"


@pytest.mark.parametrize("before", ["no checkpoint", "one", "several", "a damaged one"])
def test_a_checkpoint_survives_a_power_cut(folders, before):
    recorded, recovered = folders
    path, saved = recorded / "checkpoint.pt", {"no checkpoint": 0, "one": 1, "several": 3, "a damaged one": 3}[before]
    Model().save(path, *range(1, saved + 1))
    if before == "a damaged one":
        path.write_bytes(path.read_bytes()[:-50])
        saved = 2
    recorder = Recorder(recorded)
    with recorder.record():
        model = Model()
        assert model.load(path) == saved
        model.save(path, saved + 1, saved + 2, saved + 3, mark=recorder.mark)
    for marks, tree in recorder.power_cuts():
        write_tree(recovered, tree)
        last, model = int(([saved, *marks])[-1]), Model()
        found = model.load(recovered / path.name)
        assert found in (last, last + 1)
        model.save(recovered / path.name, found + 1)
        assert Model().load(recovered / path.name) == found + 1


def _record(probe, run_id):
    return replace(made_record(probe=probe), run_id=run_id)


@pytest.mark.parametrize("torn", ["", '{"format": 4, "kind'])
@pytest.mark.parametrize("earlier", [0, 1])
def test_a_record_survives_a_power_cut(folders, earlier, torn):
    recorded, recovered = folders
    lines = [_record(str(number), RUN).to_line() for number in range(5)]
    if earlier:
        (recorded / RESULTS).write_text(lines[0] + "\n" + torn)
    recorder = Recorder(recorded)
    with recorder.record():
        for number in range(earlier, 4):
            append_line(recorded / RESULTS, lines[number])
            recorder.mark(str(number))
    for marks, tree in recorder.power_cuts():
        write_tree(recovered, tree)
        results = recovered / RESULTS
        promised = {str(number) for number in range(earlier)} | set(marks)
        found = {record.probe for record in read_records([results], warn=False)} if results.exists() else set()
        assert promised <= found <= promised | {str(len(promised))}
        append_line(results, lines[4])
        assert {record.probe for record in read_records([results], warn=False)} == found | {"4"}


def test_a_small_file_is_old_or_new_after_a_power_cut(folders):
    recorded, recovered = folders
    write_text(recorded / "a", "old")
    recorder = Recorder(recorded)
    with recorder.record():
        for text in ("new" * 1000, "newer"):
            write_text(recorded / "a", text)
            recorder.mark(text)
    for marks, tree in recorder.power_cuts():
        write_tree(recovered, tree)
        texts = ["old", "new" * 1000, "newer"]
        assert (recovered / "a").read_text() in texts[len(marks) : len(marks) + 2]


def test_a_run_survives_a_power_cut_from_its_first_file_to_the_last(folders):
    recorded, recovered = folders
    config, data, facts = small_config("simclr"), passport(), TrainingFacts(1.0, 8, None, "cpu")
    records = {probe: _record(probe, config.run_id) for probe in PROBES}
    run, recorder = folder_of(recorded / "out", config), Recorder(recorded)
    with recorder.record():
        run.create()
        recorder.mark("created")
        run.begin(data)
        recorder.mark("begun")
        model = Model()
        model.save(run.checkpoint, 1, 2, run_id=config.run_id, mark=recorder.mark)
        run.save_trained(model.layer, facts)
        recorder.mark("trained")
        for probe in PROBES:
            run.add(records[probe])
            recorder.mark(probe)
        run.finish()
        recorder.mark("done")
    states = set()
    for marks, tree in recorder.power_cuts():
        write_tree(recovered, tree)
        run = folder_of(recovered / "out", config)
        assert run.path.exists() or not marks
        state = run.state(PROBES)
        states.add(state)
        recorded_probes = {record.probe for record in run.records()}
        assert recorded_probes >= {probe for probe in PROBES if probe in marks}
        assert state != "DAMAGED"
        assert state != "NEW" or "1" not in marks
        assert (state == "DONE") >= ("done" in marks)
        assert run.trained() >= ("trained" in marks)
        if run.trained():
            network = nn.Linear(20, 20)
            run.load_weights(network)
            assert {value.item() for tensor in network.parameters() for value in tensor.unique()} == {2}
            assert run.training_facts().seconds == facts.seconds
        else:
            step, last = Model().load(run.checkpoint, config.run_id), int("1" in marks) + int("2" in marks)
            assert step in (last, last + 1)
        if state == "DONE":
            assert recorded_probes == set(PROBES)
        run.create()  # the next command
        run.begin(data)
        assert not list(run.path.glob(".*.part"))
        for probe in run.missing(PROBES):
            run.add(records[probe])
        assert not run.missing(PROBES)
    assert states == {"NEW", "RESUMABLE", "DONE"}


def test_the_log_has_the_epochs_before_a_checkpoint_after_a_power_cut(folders, photographs):
    recorded, recovered = folders
    config = small_config("simclr", backbone="tiny-resnet8", epochs=3, batch_size=256)
    training, recorder = prepare(config, photographs, CPU), Recorder(recorded)
    with recorder.record():
        train(training, recorded / "checkpoint.pt", recorded / "log.jsonl", lambda step: None, checkpoint_seconds=0)
    for _, tree in recorder.power_cuts():
        write_tree(recovered, {name: content for name, content in tree.items() if not name.endswith(".part")})
        if has_checkpoint(recovered / "checkpoint.pt"):
            epoch = read_latest(recovered / "checkpoint.pt", config.run_id)[1]["progress"].epoch
            lines = (recovered / "log.jsonl").read_text().splitlines()[:epoch]
            assert [json.loads(line)["epoch"] for line in lines] == list(range(1, epoch + 1))


@pytest.mark.slow
def test_the_command_ends_with_the_same_bits_after_a_power_cut(folders, monkeypatch):
    recorded, recovered = folders
    monkeypatch.setattr("bench._report", lambda *arguments: True)
    monkeypatch.setattr("run_store.lease.STALE", 1.0)  # a damaged lease is judged by its age
    command = ["--datasets", "digitslt", "--preset", "smoke", "--precision", "fp32", "--methods", "byol", "--probes", "knn"]
    command += ["--epochs", "2", "--batch-size", "256", "--device", "cpu", "--checkpoint-seconds", "0", "--out"]
    recorder = Recorder(recorded)
    with recorder.record():
        assert bench.main([*command, str(recorded / "out")]) == 0
    (weights,) = recorded.glob("out/*/weights.safetensors")
    whole = load_file(weights)
    cuts = list(recorder.power_cuts())
    for _, tree in cuts[:: len(cuts) // 12]:
        write_tree(recovered, tree)
        assert bench.main([*command, str(recovered / "out")]) == 0
        (folder,) = recovered.glob("out/*-byol-*")
        again = load_file(folder / "weights.safetensors")
        assert all(torch.equal(whole[name], again[name]) for name in whole)
        assert {record.probe for record in read_records([folder / RESULTS])} == {"knn"}
        assert (folder / "done").exists()
