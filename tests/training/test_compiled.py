"""Compiled networks against plain ones."""

import pytest
import torch

from core.errors import UserError
from grid.options import GridOptions
from grid.plan import make_plan
from methods import METHODS, Method, Output
from run_store.layout import RESULTS
from run_store.records import read_records
from tests.parallel.runs_in_float64 import prepared
from tests.runs import failures
from training.compiled import check_compilable, compile_networks
from training.loop import batches, start_epoch, step


def _trained(name, photographs, compiled):
    torch._dynamo.reset()
    training, losses = prepared(name, photographs), []
    if compiled:
        compile_networks(training.method)
    for epoch in range(2):
        start_epoch(training, epoch)
        training.method.train()
        for number, batch in enumerate(batches(training, epoch)):
            losses.append(step(training, batch, training.steps_before[epoch] + number)[0])
    return {**training.state.state_dict(), "losses": torch.stack(losses)}


@pytest.fixture
def traced(monkeypatch):
    """Replaces the compiler by one that runs the traced graph, and raises an error for a graph break."""
    compiled = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function: compiled(function, backend="aot_eager", fullgraph=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_is_one_graph_and_trains_the_same(name, photographs, traced):
    expected, found = (_trained(name, photographs, compiled) for compiled in (False, True))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-9, atol=1e-10, msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["simclr", "sdclr"])
def test_the_compiler_changes_results_by_rounding_only(name, photographs):
    expected, found = (_trained(name, photographs, compiled) for compiled in (False, True))
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-6, atol=1e-8, msg=key)


def test_a_run_is_compiled_and_its_record_says_so(tmp_path, traced):
    options = {"methods": ["ts"], "datasets": ["digitslt"], "preset": "smoke", "precision": "fp32", "epochs": 1}
    options |= {"device": "cpu", "probes": ["knn"], "jobs": 1, "data_root": tmp_path}
    ids = set()
    for compiled in (False, True):
        plan = make_plan(GridOptions(**options, compile=compiled, out=tmp_path / str(compiled)))
        assert failures(plan) == {}
        (record,) = read_records([plan.runs[0].path / RESULTS])
        assert record.compiled == compiled
        ids.add(record.run_id)
    assert len(ids) == 1


class OfItsOwn(Method):
    name = "own"

    def loss(self, batch) -> Output:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("method", "count", "compiler", "message"),
    [
        (OfItsOwn, 1, "true", "own overrides `loss`"),
        (METHODS["simclr"], 2, "true", "batch norms of several processes communicate"),
        (METHODS["simclr"], 1, "no-such-compiler", "needs the C.. compiler no-such-compiler, which is not installed"),
    ],
)
def test_what_cannot_be_compiled_is_refused_with_the_reason(method, count, compiler, message, monkeypatch):
    monkeypatch.setenv("CXX", compiler)
    with pytest.raises(UserError, match=f"--compile:? .*{message}|--compile {message}"):
        check_compilable(method, count)
