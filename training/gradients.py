"""Loss of a batch and its gradients, also for a batch that is divided among several processes, or into parts to save memory.

Every process encodes its images, gathers the embeddings of all, and computes the objective of the whole batch. Backward, it
returns only its own rows to its networks, and the gradients of the parameters are summed over the processes. So each row counts
once, and the result is that of one process, up to rounding. A mean over processes, as in torch's DistributedDataParallel, would
be too small by the number of processes: the loss is the mean over the whole batch already.

Parts of a batch are encoded one after the other without gradients, and again with the gradients of the objective of the whole
batch (GradCache, Gao et al. 2021, arXiv:2101.06983). Only one part needs memory for its activations, and the loss has all
negatives. Batch norms use the statistics of each part.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from core.seeds import seed_of
from data.loader import MIN_BATCH, Batch
from methods import Method, Output
from parallel import processes
from parallel.batch_norm import synchronized_batch_norm


def backward(
    method: Method,
    batch: Batch,
    autocast: AbstractContextManager,
    accumulate: int = 1,
    objective: Callable[[tuple[Tensor, ...], Tensor, int], Output] | None = None,
) -> Output:
    """Computes the loss of a batch, the forward pass in `autocast`, and adds the gradients to those of the parameters.

    Args:
        method: of the run.
        batch: with the views of this process.
        autocast: context.
        accumulate: parts of the batch of each process; fewer if they would have less than two images.
        objective: function of the embeddings in place of `method.objective`.

    Returns:
        Loss and tail scores of the whole batch, equal in all processes.
    """
    rows = processes.rows_of_all(len(batch.index))
    count = max(1, min(accumulate, min(rows) // MIN_BATCH))
    if processes.count() == count == 1:
        with autocast:
            output = objective(method.encode(batch.views), batch.index, batch.epoch) if objective else method.loss(batch)
        output.loss.backward()
        return output
    parts = list(zip(*(view.tensor_split(count) for view in batch.views), strict=True))
    seed = torch.initial_seed()

    def encode(number: int) -> tuple[Tensor, ...]:
        if count > 1:
            torch.manual_seed(seed_of(seed, "part", number))  # dropout is the same both times
        with autocast, synchronized_batch_norm():
            return method.encode(parts[number])

    if count == 1:
        encoded = [encode(0)]
    else:
        with torch.no_grad(), unchanged_statistics(method):
            encoded = [encode(number) for number in range(count)]
    # leaves: the graph of the objective ends at the embeddings
    gathered = tuple(
        processes.gather_rows(torch.cat(z).detach(), rows).requires_grad_(count > 1 or z[0].requires_grad)
        for z in zip(*encoded, strict=True)
    )
    with autocast:
        output = (objective or method.objective)(gathered, batch.index, batch.epoch)
    output.loss.backward()
    if not processes.is_main():  # parameters of the objective itself have the same gradient in all processes
        for parameter in method.parameters():
            if parameter.grad is not None:
                parameter.grad.zero_()
    here = processes.own_rows(len(batch.index))
    gradients = [(None,) * count if whole.grad is None else whole.grad[here].tensor_split(count) for whole in gathered]
    for number, of_part in enumerate(zip(*gradients, strict=True)):
        own = encoded[0] if count == 1 else encode(number)
        pairs = [(z, dz) for z, dz in zip(own, of_part, strict=True) if z.requires_grad and dz is not None]
        torch.autograd.backward([z for z, _ in pairs], [dz for _, dz in pairs])
    processes.sum_gradients(method.parameters())
    return output


@contextmanager
def unchanged_statistics(method: Method) -> Iterator[None]:
    """Context that restores the running statistics of batch norms."""
    buffers = [buffer for module in method.modules() if isinstance(module, _BatchNorm) for buffer in module.buffers()]
    before = [buffer.clone() for buffer in buffers]
    yield
    for buffer, value in zip(buffers, before, strict=True):
        buffer.copy_(value)
