"""Loss of a batch and its gradients, also for a batch that is divided among several processes.

Every process encodes its images, gathers the embeddings of all, and computes the objective of the whole batch. Backward, it
returns only its own rows to its networks, and the gradients of the parameters are summed over the processes. So each row counts
once, and the result is that of one process, up to rounding. A mean over processes, as in torch's DistributedDataParallel, would
be too small by the number of processes: the loss is the mean over the whole batch already.
"""

from contextlib import AbstractContextManager

import torch

from data.loader import Batch
from methods import Method, Output
from parallel import processes
from parallel.batch_norm import synchronized_batch_norm


def backward(method: Method, batch: Batch, autocast: AbstractContextManager) -> Output:
    """Computes the loss of a batch, the forward pass in `autocast`, and adds the gradients to those of the parameters.

    Returns:
        Loss and tail scores of the whole batch, equal in all processes.
    """
    if processes.count() == 1:
        with autocast:
            output = method.loss(batch)
        output.loss.backward()
        return output
    with autocast, synchronized_batch_norm():
        own = method.encode(batch.views)
    rows = processes.rows_of_all(len(batch.index))
    # leaves: the graph of the objective ends at the embeddings
    gathered = tuple(processes.gather_rows(z.detach(), rows).requires_grad_(z.requires_grad) for z in own)
    with autocast:
        output = method.objective(gathered, batch.index, batch.epoch)
    output.loss.backward()
    if not processes.is_main():  # parameters of the objective itself have the same gradient in all processes
        for parameter in method.parameters():
            if parameter.grad is not None:
                parameter.grad.zero_()
    here = processes.own_rows(len(batch.index))
    pairs = [(z, whole.grad[here]) for z, whole in zip(own, gathered, strict=True) if whole.grad is not None]
    torch.autograd.backward([z for z, _ in pairs], [gradient for _, gradient in pairs])
    processes.sum_gradients(method.parameters())
    return output
