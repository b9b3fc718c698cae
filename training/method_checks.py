"""Checks of a method in a short run: gradients, batch norms, frozen branches, memories, loss, labels.

Each check names what fails: a parameter without gradient, a batch norm whose statistics do not move, an EMA copy that no step
updates, a buffer that never changes or that nothing reads. Whether a buffer is read is found by training on with its initial
value instead of its present one. What a method leaves unchanged on purpose is in `Method.fixed`; a buffer that only
`Method.sample_state` returns is for the analysis, which is reported, not a fault.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from methods import Method
from training.loop import batches, start_epoch, step
from training.prepare import Training

TRAINING, ANALYSIS = "training", "analysis"  # what a tensor may affect
FIXED_STEPS = 30  # on a fixed batch, on which the loss should fall
LEAST_FALL = 0.9  # largest ratio of the mean loss of the last and of the first five of them


@dataclass(frozen=True)
class Check:
    """Result of one check."""

    subject: str  # what holds if it passes
    faults: Sequence[str] = ()  # names of what fails; empty: it passes
    note: str = ""


@dataclass
class _History:
    """What happened in a run."""

    reached: set[str] = field(default_factory=set)  # parameters that had a gradient
    changed: set[str] = field(default_factory=set)  # parameters and buffers that changed after the first `on_epoch_start`
    by_steps: set[str] = field(default_factory=set)  # those of them that changed in a step
    losses: list[float] = field(default_factory=list)
    states: list[dict[str, Any]] = field(default_factory=list)  # before each epoch


def check_run(build: Callable[[], Training]) -> Iterator[Check]:
    """Trains a run and checks gradients, batch norms, frozen branches and buffers.

    Args:
        build: prepares the run at its initial state, of at least two short epochs in which the method does all that it does.
    """
    training = build()
    method, initial = training.method, _tensors(training.method)
    norms = {path for path, module in method.named_modules() if isinstance(module, _BatchNorm) and module.track_running_stats}
    statistics = {f"{path}.{name}" for path in norms for name, _ in method.get_submodule(path).named_buffers()}
    history = _train(training)
    trained = {name for name, parameter in method.named_parameters() if parameter.requires_grad}
    yield Check("gradient reaches every trainable parameter", _named(trained - history.reached, trained))
    moving = {path for path in norms if f"{path}.running_mean" in history.by_steps}
    yield Check("statistics of every batch norm change", _named(norms - moving - _fixed(method, norms), norms))

    frozen = {name for name, _ in method.named_parameters()} - trained
    frozen -= _fixed(method, frozen)
    followers = frozen & history.by_steps
    yield Check("steps update the parameters that have no gradient", _named(frozen - followers, frozen))
    buffers = {name for name, _ in method.named_buffers()} - statistics
    buffers -= _fixed(method, buffers)
    memories = buffers & history.changed
    yield Check("every buffer changes after the start of the first epoch", _named(buffers - memories, buffers))

    groups: dict[str, list[str]] = {name: [name] for name in sorted(memories)}
    for name in sorted(followers):
        groups.setdefault(_branch(name), []).append(name)
    usual = {epoch: list(_rest(training, history, epoch, {}, False)) for epoch in range(1, training.epochs)}
    effects = {
        group: _effect(training, history, usual, {name: initial[name] for name in names}) for group, names in groups.items()
    }
    unused = {group for group, effect in effects.items() if not effect}
    analysed = [group for group, effect in effects.items() if effect == ANALYSIS]
    yield Check(
        "every buffer and every branch without gradient affects the loss or the scores",
        _named(unused, set(groups)),
        f"for the analysis only: {', '.join(analysed)}" if analysed else "",
    )


def check_labels(build: Callable[[Tensor], Training], labels: Tensor) -> Check:
    """Trains a run with (N,) labels and with the same in another order."""
    shuffled = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    first, second = (_train(build(given)) for given in (labels, shuffled))
    faults = [] if first.losses == second.losses else ["losses depend on the order of the labels"]
    return Check("labels are not used", faults)


def check_fall(training: Training) -> Check:
    """Trains on one batch, the first of a run of FIXED_STEPS epochs."""
    training.method.train()
    batch = next(iter(batches(training, 0)))
    losses = [step(training, batch, number)[0].item() for number in range(FIXED_STEPS)]
    first, last = sum(losses[:5]) / 5, sum(losses[-5:]) / 5
    faults = [] if last < LEAST_FALL * first else [f"from {first:.4g} to {last:.4g}, means of five steps"]
    return Check(f"loss falls in {FIXED_STEPS} steps on one batch", faults)


def _train(training: Training) -> _History:
    """Trains a run to its end."""
    history, method = _History(), training.method
    for epoch in range(training.epochs):
        history.states.append(_state(training))
        before = _tensors(method)
        start_epoch(training, epoch)
        after = _tensors(method)
        if epoch:
            history.changed |= _different(before, after)
        method.train()
        for number, batch in enumerate(batches(training, epoch), start=training.steps_before[epoch]):
            history.losses.append(step(training, batch, number)[0].item())
            history.reached |= {name for name, p in method.named_parameters() if p.grad is not None and bool(p.grad.any())}
            before, after = after, _tensors(method)
            history.by_steps |= _different(before, after)
    history.changed |= history.by_steps
    return history


def _effect(
    training: Training, history: _History, usual: dict[int, list[tuple[str, Tensor]]], values: dict[str, Tensor]
) -> str:
    """What differs if tensors of the method get other values in an epoch: TRAINING, else ANALYSIS, else nothing.

    Args:
        training: the run.
        history: of the run.
        usual: `_rest` without other values, by epoch.
        values: by name.
    """
    found = ""
    for epoch, early in product(reversed(usual), (False, True)):
        for (place, a), (_, b) in zip(usual[epoch], _rest(training, history, epoch, values, early), strict=True):
            if not torch.equal(a, b):
                found = place
            if found == TRAINING:
                return found
    return found


def _rest(
    training: Training, history: _History, epoch: int, values: dict[str, Tensor], early: bool
) -> Iterator[tuple[str, Tensor]]:
    """Trains a run again from an epoch on, with other values from before or after the `on_epoch_start` of this epoch.

    Yields what the analysis reads, then the loss and the tail scores of each step.
    """
    method = training.method
    training.state.load_state_dict(history.states[epoch]["state"])
    training.optimizer.load_state_dict(copy.deepcopy(history.states[epoch]["optimizer"]))
    for current in range(epoch, training.epochs):
        if current == epoch and early:
            _set(method, values)
        start_epoch(training, current)
        if current == epoch:
            if not early:
                _set(method, values)
            for value in method.sample_state().values():
                yield ANALYSIS, value.clone()
        method.train()
        for number, batch in enumerate(batches(training, current), start=training.steps_before[current]):
            yield TRAINING, step(training, batch, number)[0]
            yield TRAINING, training.tail_scores[batch.index].clone()


def _state(training: Training) -> dict[str, Any]:
    return copy.deepcopy({"state": training.state.state_dict(), "optimizer": training.optimizer.state_dict()})


def _tensors(method: Method) -> dict[str, Tensor]:
    """Copies of all parameters and buffers."""
    return {name: tensor.detach().clone() for name, tensor in (*method.named_parameters(), *method.named_buffers())}


@torch.no_grad()
def _set(method: Method, values: dict[str, Tensor]) -> None:
    present = dict((*method.named_parameters(), *method.named_buffers()))
    for name, value in values.items():
        present[name].copy_(value)


def _different(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name, value in after.items() if not torch.equal(before[name], value)}


def _fixed(method: Method, names: Iterable[str]) -> set[str]:
    """Those of the names that `Method.fixed` of the method or its host declares, themselves or their module."""
    owners = [(f"{path}." if path else "", module) for path, module in method.named_modules() if isinstance(module, Method)]
    declared = [f"{prefix}{name}" for prefix, module in owners for name in module.fixed]
    return {name for name in names if any(name == one or name.startswith(f"{one}.") for one in declared)}


def _branch(name: str) -> str:
    """The attribute of the method, or of its host, that has a parameter."""
    parts = name.split(".")
    return ".".join(parts[: 2 if parts[0] == "host" else 1])


def _named(faults: Set[str], candidates: Set[str]) -> list[str]:
    """Names of what fails; a branch instead of its parts where all of them fail."""
    of_branch = {fault: {name for name in candidates if _branch(name) == _branch(fault)} for fault in faults}
    return sorted({_branch(fault) if of_branch[fault] <= faults else fault for fault in faults})
