"""A GPU that is not there: code runs as on `cuda`, tensors on it have a shape and a device but no numbers.

Built on torch's fake tensors, and stricter in one way: plain CPU tensors stay real, so that random draws, seeds and decisions
made on the CPU run as they are. A tensor forgotten on the CPU fails as on a GPU. So does, other than on a GPU, whatever makes
the CPU wait for the device: what `torch.cuda.set_sync_debug_mode("error")` would refuse. Uploads are counted, as those with
`non_blocking` from memory that is not pinned may wait too. Prefetching threads see the same device.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import RLock, Thread, local
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
)
from torch.autograd.graph import Node, _engine_run_backward
from torch.utils._pytree import tree_leaves, tree_map_only

from data import prefetch
from data.views import color, randaugment, resample

KEPT_BY_DEVICE = (color.constant, randaugment._pixels, resample._weight_table)

aten = torch.ops.aten
CUDA = torch.device("cuda")
UNORDERED = (aten.index_add.default, aten.index_add_.default, aten.scatter_add.default, aten.scatter_add_.default)
INDEXED = (aten.index.Tensor, aten.index_put.default, aten.index_put_.default)


class WaitsForDevice(RuntimeError):
    """Something that makes the CPU wait until the device has caught up, where no wait is allowed."""


class Upload(NamedTuple):
    """A copy from the CPU to the device."""

    nbytes: int
    pinned: bool  # whether from pinned memory and without a wait


@contextmanager
def fake_cuda() -> Iterator["FakeCUDA"]:
    """Everything inside sees a `cuda` device; no driver is needed and none is used. Tensors on it are of no use afterwards."""
    common = torch.cuda.amp.common
    with (
        # autocast asks these two, and without a driver would warn and switch itself off
        patch.object(common, "amp_definitely_not_available", lambda: False),
        patch.object(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True),
        # torch's own asks the driver for the streams of the device
        patch.object(torch.autograd, "_engine_run_backward", _run_backward),
        patch.object(torch.cuda, "current_device", lambda: 0),
        patch.object(torch.cuda, "set_device", lambda device: None),
        patch.object(torch.cuda, "current_stream", lambda device: device),
        FakeCUDA() as device,
    ):

        class Event:
            """Stands for `torch.cuda.Event`, which needs a driver."""

            def record(self, stream: torch.device) -> None:
                """Notes the device of the stream."""
                device.recorded.append(stream)

            def synchronize(self) -> None:
                device.wait("Event.synchronize")

        class OnDevice(Thread):
            """A mode holds for its own thread alone."""

            def run(self) -> None:
                with device:
                    super().run()

        try:
            with patch.object(prefetch, "Thread", OnDevice), patch.object(torch.cuda, "Event", Event):
                yield device
        finally:
            for constants in KEPT_BY_DEVICE:  # those of this device are of no use to the next
                constants.cache_clear()


class FakeCUDA(FakeTensorMode):
    """The mode that `fake_cuda` enters."""

    def __init__(self) -> None:
        self._of_thread = local()
        super().__init__()
        self.uploads: list[Upload] = []
        self.recorded: list[torch.device] = []  # devices on whose streams events were recorded
        self.unordered: list[Any] = []  # operations that sum floats in any order, so that their results vary
        self._pinned: dict[int, Tensor] = {}  # tensors in pinned memory by its address; kept, so that none is used again
        self._one_at_a_time = RLock()
        self._allowed = False
        self._inside = 0  # depth of calls that torch makes to find out the shape of one operation's result
        self._generator = torch.Generator().manual_seed(0)

    @property
    def avoid_device_init(self) -> bool:
        """Also where there is a GPU."""
        return True

    @property
    def in_kernel_invocation(self) -> bool:  # type: ignore[override]
        """For each thread: it changes the devices that torch states."""
        return getattr(self._of_thread, "inside", False)

    @in_kernel_invocation.setter
    def in_kernel_invocation(self, inside: bool) -> None:
        self._of_thread.inside = inside

    @contextmanager
    def waits(self) -> Iterator[None]:
        """Allows waits inside. What is fetched is made up: floats from N(0, 1), whole numbers one, bools true."""
        before, self._allowed = self._allowed, True
        try:
            yield
        finally:
            self._allowed = before

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        with self._one_at_a_time:
            return self._dispatch(func, types, args, dict(kwargs or {}))

    def _dispatch(self, func: Any, types: Sequence[type], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        if kwargs.pop("pin_memory", None):
            made = func(*args, **kwargs)
            self._pinned[made.untyped_storage().data_ptr()] = made
            return made
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        target = kwargs.get("device")
        if not any(isinstance(x, FakeTensor) for x in tensors) and (target is None or target.type != "cuda"):
            return func(*args, **kwargs)
        if not self._inside:
            _check_index(func, args)
            if func in UNORDERED and _on_cuda(args[0]) and args[0].dtype.is_floating_point:
                self.unordered.append(func)
            self._count(func, args, kwargs)
            if func is aten.copy_.default and not _on_cuda(args[0]) and _on_cuda(args[1]):
                if not (len(args) > 2 and args[2] and self._is_pinned(args[0])):
                    self.wait(func)
                return func(args[0], self._made_up(args[1]))
            if _moves(func, args, kwargs):
                self.wait(func)
                if target is not None and target.type == "cpu":
                    return func(self._made_up(args[0]), **kwargs)
        fake_args, fake_kwargs = tree_map_only(Tensor, self._fake, (args, kwargs))
        _check_lists(func, fake_args)
        if func.overloadpacket is aten._fused_sgd_:  # the one fused optimiser whose result's shape torch does not know
            return None
        self._inside += 1
        try:
            return super().__torch_dispatch__(func, types, fake_args, fake_kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException) as error:
            if self._inside > 1:
                raise
            self.wait(func, error)
            args, kwargs = tree_map_only(FakeTensor, self._made_up, (args, kwargs))
            return tree_map_only(Tensor, self._on_device, func(*args, **kwargs))
        finally:
            self._inside -= 1
            if not self._inside:  # torch's weak references to results would keep a module's `to` from putting them in place
                self.fake_tensor_converter.tensor_memo.clear()

    def _count(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Enters an upload, if this is one."""
        target = kwargs.get("device")
        if func is aten._to_copy.default and not _on_cuda(args[0]) and target is not None and target.type == "cuda":
            source, ahead = args[0], kwargs.get("non_blocking", False)
        elif func is aten.copy_.default and _on_cuda(args[0]) and not _on_cuda(args[1]):
            source, ahead = args[1], len(args) > 2 and args[2]
        else:
            return
        self.uploads.append(Upload(source.nbytes, ahead and self._is_pinned(source)))

    def _is_pinned(self, x: Tensor) -> bool:
        return x.untyped_storage().data_ptr() in self._pinned

    def wait(self, func: Any, error: Exception | None = None) -> None:
        """Raises WaitsForDevice for an operation that waits, where waits are not allowed."""
        if not self._allowed:
            raise WaitsForDevice(f"{func} waits for the device") from error

    def _made_up(self, x: Tensor) -> Tensor:
        """A real tensor on the CPU in place of one on the device."""
        if x.dtype.is_floating_point:
            return torch.randn(x.shape, generator=self._generator).to(x.dtype)
        return torch.ones(x.shape, dtype=x.dtype)

    def _fake(self, x: Tensor) -> Tensor:
        """The tensor itself where it is on the device, else one on the CPU that torch can compare it with."""
        return x if isinstance(x, FakeTensor) else self.from_tensor(x.detach())

    def _on_device(self, x: Tensor) -> Any:
        return super().__torch_dispatch__(aten._to_copy.default, (), (self._fake(x),), {"device": CUDA})


def _on_cuda(x: Any) -> bool:
    return isinstance(x, FakeTensor) and x.fake_device.type == "cuda"


def _moves(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether an operation copies between CPU and device and waits for the copy; what comes to the CPU is always waited for."""
    if func is aten.where.self:
        return any(x.dim() == 0 and not _on_cuda(x) for x in args)
    if func in INDEXED:  # even of one number from the CPU a copy is made and waited for
        indices = [index for index in args[1] if index is not None]
        number = [x for x in args[2:3] if isinstance(x, Tensor) and x.dim() == 0]
        return not all(_on_cuda(x) for x in (*indices, *number))
    if func is aten._to_copy.default:
        source, target, ahead = _on_cuda(args[0]), kwargs.get("device"), kwargs.get("non_blocking", False)
        return target is not None and (target.type == "cuda") != source and (source or not ahead)
    if func is aten.copy_.default:
        source, ahead = _on_cuda(args[1]), len(args) > 2 and args[2]
        return _on_cuda(args[0]) != source and (source or not ahead)
    return False


def _check_index(func: Any, args: Sequence[Any]) -> None:
    """Raises where a tensor on the CPU is indexed by one on the device, which torch's fake tensors let pass."""
    if func in INDEXED and not _on_cuda(args[0]):
        raise RuntimeError(f"{func}: indices should be on the CPU, where the indexed tensor is, not on the device")


def _check_lists(func: Any, args: Sequence[Any]) -> None:
    """Raises where operations on lists change a tensor by one on another device, which torch's fake tensors let pass too."""
    if not func._schema.returns and func is not aten._foreach_copy_.default:
        for row in zip(*(x for x in args if isinstance(x, list | tuple) and x), strict=False):
            FakeTensor._find_common_device(func, row)


def _run_backward(outputs: Sequence[Tensor], gradients: Sequence[Tensor], *options: Any, **more: Any) -> tuple[Tensor, ...]:
    """`backward` of a tensor on the device, by the graph's own nodes; hooks and `autograd.Function`s are not called."""
    if not any(_on_cuda(output) for output in outputs):
        return _engine_run_backward(outputs, gradients, *options, **more)
    _, create_graph, inputs = options
    if create_graph or inputs or not more["accumulate_grad"]:
        raise NotImplementedError("only gradients that are accumulated in leaves")
    (root,), (gradient,) = outputs, gradients
    assert root.grad_fn is not None
    waiting, found = Counter[Node](), [root.grad_fn]
    while found:
        for node, _ in found.pop().next_functions:
            if node is not None:
                if node not in waiting:
                    found.append(node)
                waiting[node] += 1
    arrived: dict[Node, list[Tensor | None]] = {root.grad_fn: _none_for(root.grad_fn)}
    arrived[root.grad_fn][root.output_nr] = gradient
    ready = [root.grad_fn]
    with torch.no_grad():
        while ready:
            node = ready.pop()
            call: Any = node
            results = call(*arrived.pop(node))
            results = results if isinstance(results, tuple) else (results,)
            for (following, place), result in zip(node.next_functions, results, strict=False):
                if following is None:
                    continue
                sums = arrived.setdefault(following, _none_for(following))
                if result is not None:
                    wanted = following._input_metadata[place]
                    result = result.sum_to_size(wanted.shape).to(wanted.dtype)
                    before = sums[place]
                    sums[place] = result if before is None else before + result
                waiting[following] -= 1
                if not waiting[following]:
                    ready.append(following)
    return ()


def _none_for(node: Node) -> list[Tensor | None]:
    return [None] * len(node._input_metadata)
