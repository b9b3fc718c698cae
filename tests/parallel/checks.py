"""What one of several processes computes for `test_processes.py`; the processes import this file."""

from typing import Any

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from backbones.precision import autocast
from data.image_files import ImageFiles
from data.loader import Batch, Loader
from data.views.backend import BACKENDS
from data.views.spec import View
from methods import Method, Output
from parallel import processes
from parallel.batch_norm import synchronized_batch_norm
from training.gradients import backward

CPU = torch.device("cpu")
ROWS = 7  # of the batches below, which two or three processes divide unevenly


def norms() -> dict[str, nn.Module]:
    """Networks with every kind of batch norm."""
    torch.manual_seed(0)
    return {
        "2d": nn.BatchNorm2d(3),
        "1d": nn.BatchNorm1d(3),
        "without affine": nn.BatchNorm2d(3, affine=False),
        "without running statistics": nn.BatchNorm2d(3, track_running_stats=False),
        "cumulative": nn.BatchNorm2d(3, momentum=None),
        "timm": BatchNormAct2d(3),
        "in eval mode": nn.BatchNorm2d(3).eval(),
    }


def norm_results(dtype: torch.dtype) -> dict[str, dict[str, Tensor]]:
    """Output, gradients and statistics of each batch norm after two batches, the rows of all processes together."""
    results = {}
    for name, norm in norms().items():
        norm = norm.to(torch.float64 if dtype == torch.float64 else torch.float32)
        outputs, gradients = [], []
        for number in range(2):
            stream = torch.Generator().manual_seed(number)
            shape = (ROWS, 3) if name == "1d" else (ROWS, 3, 4, 4)
            x, weights = (torch.randn(shape, generator=stream, dtype=torch.float64).to(dtype) for _ in range(2))
            here = processes.own_rows(ROWS)
            own = (3 * x + 1)[here].requires_grad_()
            with synchronized_batch_norm():
                y = norm(own)
            (y * weights[here]).sum().backward()
            rows = processes.rows_of_all(ROWS)
            outputs.append(processes.gather_rows(y.detach(), rows))
            gradients.append(processes.gather_rows(own.grad, rows))
        processes.sum_gradients(norm.parameters())
        of_parameters = {f"gradient of {key}": p.grad for key, p in norm.named_parameters()}
        results[name] = {
            "outputs": torch.stack(outputs), "gradients": torch.stack(gradients), **of_parameters, **norm.state_dict()
        }  # fmt: skip
    return results


class Learned(Method):
    """A loss with a parameter in `encode` and one in `objective`."""

    def build(self, width: int) -> None:
        self.layer = nn.Linear(4, 2)
        self.scale_of_loss = nn.Parameter(torch.tensor(3.0))

    def encode(self, views: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (self.layer(views[0]),)

    def objective(self, embeddings: tuple[Tensor, ...], index: Tensor, epoch: int) -> Output:
        (z,) = embeddings
        losses = self.scale_of_loss * (z @ z.T).sum(dim=1).square()
        return Output(losses.mean(), losses.detach())


def gradients_of_learned(rows: int = ROWS, accumulate: int = 1) -> dict[str, Tensor]:
    """Gradients of its parameters for one batch, its loss and scores."""
    torch.manual_seed(0)
    method = Learned(None, nn.Identity(), 4, None).double()
    x = torch.randn(rows, 4, dtype=torch.float64)
    batch = Batch((x[processes.own_rows(rows)],), torch.arange(rows))
    output = backward(method, batch, autocast(CPU, "fp32"), accumulate)
    gradients = {name: parameter.grad for name, parameter in method.named_parameters()}
    return {**gradients, "loss": output.loss.detach(), "scores": output.scores}


def loaded(images: Tensor | ImageFiles) -> dict[str, Any]:
    """Batches of an epoch, with the views of all processes."""
    view = View(crop_scale=(0.3, 1.0), jitter_p=0.8, gray_p=0.2)
    loader = Loader(images, BACKENDS["torch"]([view, view], CPU), batch_size=6, seed=3)
    indices, views = [], []
    for batch in loader.epoch(0, 16):
        rows = processes.rows_of_all(len(batch.index))
        views += [processes.gather_rows(view, rows) for view in batch.views]
        indices.append(batch.index)
    return {"index": torch.cat(indices), "views": torch.cat(views), "unreadable": sorted(loader.unreadable)}


def collectives() -> dict[str, Any]:
    """Results of the collectives."""
    rank = processes.rank()
    turns = [torch.full((size, 2), float(number)) for number, size in enumerate((3, 3, 3, 1))]
    return {
        "gathered": processes.gather_rows(torch.full((rank + 1, 2), float(rank)), range(1, processes.count() + 1)).tolist(),
        "from_main": processes.from_main(lambda: f"of {rank}"),
        "from_all": processes.from_all(rank),
        "in_turns": [x.tolist() for x in processes.in_turns(iter(turns[rank :: processes.count()]), [3, 3, 3, 1])],
        "error in main": _error_of(lambda: processes.from_main(_fail)),
        "error in one": _error_of(lambda: list(processes.in_turns(_fail_in(processes.count() - 1), [1, 1, 1]))),
        "after": processes.from_all(rank),
    }


def _fail() -> None:
    raise ValueError("in main")


def _fail_in(rank: int):
    if processes.rank() == rank:
        raise ValueError("in one")
    yield torch.zeros(1, 2)


def _error_of(call) -> tuple[str, bool]:
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}", processes.in_all(error)
    return "none", False


def everything(images: Tensor, files: list[str]) -> dict[str, Any]:
    """All of the above."""
    return {
        **{f"norms in {dtype}": norm_results(dtype) for dtype in (torch.float64, torch.float32, torch.bfloat16)},
        "learned": gradients_of_learned(),
        "learned in parts": gradients_of_learned(2 * ROWS, 2),
        "in memory": loaded(images[:19]),
        "files": loaded(ImageFiles(files)),
        "collectives": collectives(),
    }
