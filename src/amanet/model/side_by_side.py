"""The bodies of a batch side by side on a CPU: each of PyTorch's threads takes some of them through the network by itself.

PyTorch's threads by themselves divide every single operation, wait for each other after it, and take from each other's caches what the
next one needs. Here they meet only where BN asks for the moments of all bodies. Where there are more threads than bodies, the others help
with parts of a body's work (:mod:`amanet.model.threads`).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import wait
from contextvars import ContextVar
from itertools import pairwise
from threading import Barrier, BrokenBarrierError
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch._C import _len_torch_function_stack
from torch._C._autograd import _get_current_graph_task_keep_graph, _profiler_enabled, _top_saved_tensors_default_hooks
from torch.autograd.function import once_differentiable
from torch.nn.modules.module import _has_any_global_hook
from torch.utils._python_dispatch import _get_current_dispatch_mode

from amanet.model.shared_bodies import SharedBodies
from amanet.model.threads import helped_by, helpers, pool
from amanet.model.tracing import is_traced

Found = TypeVar("Found")
Bodies = Float[Tensor, "clip_body frame joint channel"]
Outputs = Float[Tensor, "clip_body out"]
Work = Callable[[Bodies, SharedBodies], Outputs]

LEAST_WORK = 2e9
"""Joints of frames times weights that are worth a thread; with less, what Python says to each thread takes longer."""

MOST_THREADS = 8
"""Threads beside each other, as Python lets only one of them speak to PyTorch at a time; more cores help them with parts."""


class _Meeting:
    """Where threads that share a batch show each other what they found."""

    def __init__(self, threads: int) -> None:
        self.barrier = Barrier(threads)
        self.boards: tuple[list[Any], list[Any]] = ([None] * threads, [None] * threads)


class _Seat:
    """A thread's place in a meeting."""

    def __init__(self, meeting: _Meeting, place: int) -> None:
        self.meeting, self.place, self.round = meeting, place, 0

    def show(self, found: Found) -> list[Found]:
        board = self.meeting.boards[self.round % 2]  # nobody is a round ahead of one who still reads
        self.round += 1
        board[self.place] = found
        self.meeting.barrier.wait()
        return list(board)


_SEAT: ContextVar[_Seat | None] = ContextVar("seat", default=None)


def everyone(found: Found) -> list[Found]:
    """What each of the threads that share a batch found, in the order of their bodies."""
    seat = None if is_traced() else _SEAT.get()
    return [found] if seat is None else seat.show(found)


def add_up(sums: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """The sums over the bodies of all threads."""
    first, second = zip(*everyone(sums), strict=True)
    return (torch.stack(first).sum(0), torch.stack(second).sum(0)) if len(first) > 1 else sums


def leads() -> bool:
    """Whether this thread does what is done once for a batch."""
    seat = None if is_traced() else _SEAT.get()
    return seat is None or seat.place == 0


def pays(network: nn.Module, features: Bodies) -> bool:
    """Whether the bodies are best taken apart: on a CPU, with enough to do, where nobody listens to modules, weights or operations."""
    if features.device.type != "cpu" or is_traced(features) or torch.is_autocast_enabled("cpu"):
        return False
    if torch.get_num_threads() < 2 or _somebody_listens() or _worth(network, features) < 2:
        return False
    if any(each._backward_hooks for each in network.parameters()):
        return False
    return not any(_has_listeners(each) or _learns_more(each) or is_compiled(each) for each in network.modules())


def _somebody_listens() -> bool:
    """Whether somebody follows this thread's operations, every module, or what is kept for gradients.

    So does ``torch.set_default_device``, of which other threads know nothing.
    """
    if _profiler_enabled() or _len_torch_function_stack() or _get_current_dispatch_mode() is not None:
        return True
    return _top_saved_tensors_default_hooks(False) is not None or bool(_has_any_global_hook())


def _has_listeners(module: nn.Module) -> bool:
    return any((module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks))


def _learns_more(module: nn.Module) -> bool:
    """Whether gradients go to other tensors of a module than its weights, or its weights are computed whenever they are read."""
    if "parametrizations" in module._modules:
        return True
    return any(isinstance(each, Tensor) and each.requires_grad for each in (*module._buffers.values(), *vars(module).values()))


def is_compiled(module: nn.Module) -> bool:
    """Whether a module's own graph was compiled, which knows nothing of other threads, nor of equal bodies."""
    return module._compiled_call_impl is not None or type(module).__name__ == "OptimizedModule"


def compute(work: Work, network: nn.Module, features: Bodies, bodies: SharedBodies) -> Outputs:
    """The work on all bodies, each thread's share of them by itself. Gradients reach the features, and the weights of the network."""
    shares = _shares(network, features)
    if torch.is_grad_enabled():
        weights = [each for each in network.parameters() if each.requires_grad]
        return _Compute.apply(work, bodies, shares, features, *weights)  # pyright: ignore[reportReturnType]
    return torch.cat(_at_once(lambda share: work(features[share], _part(bodies, share)), shares))


class _Compute(torch.autograd.Function):
    """Every thread keeps the graph of its own share."""

    @staticmethod
    def forward(ctx: Any, work: Work, bodies: SharedBodies, shares: list[slice], features: Tensor, *parameters: Tensor) -> Tensor:
        def run(share: slice) -> tuple[Tensor, Tensor]:
            part = features[share].detach().requires_grad_(features.requires_grad)
            with torch.enable_grad():
                return part, work(part, _part(bodies, share))

        ctx.found, ctx.shares = _at_once(run, shares), shares
        ctx.save_for_backward(*parameters)
        return torch.cat([output.detach() for _, output in ctx.found])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        parameters = ctx.saved_tensors  # says so where they are gone
        found, keeps = ctx.found, _get_current_graph_task_keep_graph()  # as retain_graph says
        if not keeps:
            ctx.found = None

        def run(place: int) -> tuple[Tensor | None, ...]:
            part, output = found[place]
            inputs = (part, *parameters) if part.requires_grad else parameters
            return torch.autograd.grad(output, inputs, gradients[0][ctx.shares[place]], retain_graph=keeps, allow_unused=True)

        by_share = _at_once(run, range(len(found)))
        of_features = None
        if found[0][0].requires_grad:
            of_features = torch.cat([of_part for of_part, *_ in by_share])  # pyright: ignore[reportArgumentType]
            by_share = [rest for _, *rest in by_share]
        of_parameters = [None if each[0] is None else torch.stack(each).sum(0) for each in zip(*by_share, strict=True)]
        return None, None, None, of_features, *of_parameters


def _worth(network: nn.Module, features: Bodies) -> int:
    """How many threads the work is worth."""
    return int(features[..., 0].numel() * sum(each.numel() for each in network.parameters()) / LEAST_WORK)


def _shares(network: nn.Module, features: Bodies) -> list[slice]:
    """The bodies of each thread."""
    threads = min(torch.get_num_threads(), MOST_THREADS, len(features), _worth(network, features))
    return [slice(start, stop) for start, stop in pairwise(len(features) * place // threads for place in range(threads + 1))]


def _part(bodies: SharedBodies, share: slice) -> SharedBodies:
    return SharedBodies(bodies.kept[share], bodies.place, bodies.copies[share])


def _at_once(run: Callable[[Any], Found], shares: Sequence[Any]) -> list[Found]:
    """What each thread's run returns. If one fails, so do those that wait for it, and its error is raised."""
    meeting, threads = _Meeting(len(shares)), max(torch.get_num_threads(), len(shares))
    at_each = threads // len(shares)
    others = helpers(threads - 1) if threads > len(shares) else None

    def take_part(place: int) -> Found:
        _SEAT.set(_Seat(meeting, place))
        try:
            with helped_by(others, at_each):
                return run(shares[place])
        except BaseException:
            meeting.barrier.abort()
            raise

    try:
        futures = pool("bodies", min(threads, MOST_THREADS)).start(take_part, len(shares))
        wait(futures)
    except BaseException:  # Ctrl-C
        meeting.barrier.abort()
        raise
    errors = [error for each in futures if (error := each.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, BrokenBarrierError)):
        try:
            raise error
        finally:
            del errors, error, futures  # which would hold each other, and all tensors of the step
    return [each.result() for each in futures]
