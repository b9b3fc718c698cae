"""Gradients of a batch in parts."""

import pytest
import torch
from torch import Tensor, nn

from backbones.precision import autocast
from data.loader import Batch
from methods import Method, Output
from tests.parallel.checks import gradients_of_learned
from tests.parallel.runs_in_float64 import prepared
from tests.runs import EVERY_METHOD
from training.gradients import backward
from training.loop import batches, start_epoch

CPU = torch.device("cpu")
PARTS = 3


def _by_one_graph(method: Method, batch: Batch) -> Output:
    """The same with the activations of all parts in memory."""
    parts = zip(*(view.tensor_split(PARTS) for view in batch.views), strict=True)
    encoded = [method.encode(part) for part in parts]
    output = method.objective(tuple(torch.cat(z) for z in zip(*encoded, strict=True)), batch.index, batch.epoch)
    output.loss.backward()
    return output


@pytest.mark.parametrize("name", EVERY_METHOD)
def test_gradients_and_state_are_those_of_one_graph(name, photographs):
    results = []
    for compute in (_by_one_graph, lambda method, batch: backward(method, batch, autocast(CPU, "fp32"), PARTS)):
        training = prepared(name, photographs)
        for epoch in range(2):
            start_epoch(training, epoch)
        training.method.train()
        batch = list(batches(training, 1))[-1]
        output = compute(training.method, batch)
        gradients = {f"gradient of {key}": p.grad for key, p in training.method.named_parameters() if p.grad is not None}
        results.append({"loss": output.loss.detach(), "scores": output.scores, **gradients, **training.method.state_dict()})
    expected, found = results
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-9, atol=1e-12, msg=key)


@pytest.mark.parametrize("accumulate", [2, 3, 7, 100])
def test_without_batch_norm_the_result_is_that_of_the_whole_batch(accumulate):
    for key, value in gradients_of_learned().items():
        torch.testing.assert_close(gradients_of_learned(accumulate=accumulate)[key], value, rtol=1e-12, atol=1e-12, msg=key)


class WithDropout(Method):
    def build(self, width: int) -> None:
        self.network = nn.Sequential(nn.Linear(4, 4), nn.Dropout())
        self.seen: list[Tensor] = []

    def encode(self, views: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        z = self.network(views[0])
        self.seen.append(z.detach())
        return (z,)

    def objective(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        losses = embeddings[0].square().sum(dim=1)
        return Output(losses.mean(), losses.detach())


@pytest.mark.parametrize(("rows", "sizes"), [(8, [3, 3, 2]), (7, [3, 2, 2]), (5, [3, 2]), (3, [3]), (2, [2])])
def test_parts_have_two_images_or_more_and_the_same_dropout_both_times(rows, sizes):
    method = WithDropout(None, nn.Identity(), 4, None)
    backward(method, Batch((torch.ones(rows, 4),), torch.arange(rows)), autocast(CPU, "fp32"), PARTS)
    again = method.seen[len(sizes) :] if len(sizes) > 1 else method.seen
    assert [len(z) for z in method.seen[: len(sizes)]] == sizes
    assert all(torch.equal(a, b) for a, b in zip(method.seen, again, strict=False))
    assert len(again) == len(sizes)
    if len(sizes) > 1:
        assert not torch.equal(method.seen[0][:2], method.seen[1][:2])
