"""Batch normalisation of features whose channels are the last axis, with statistics over one process or over all of them.

Equal bodies of a batch need to be computed only once: within :func:`counting_copies` the statistics count each body as often as it occurs.
A forward pass that is computed again for its gradient is seen once: within :class:`ComputingAgain` the running statistics stand still.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributed import ReduceOp, all_reduce, is_available, is_initialized
from torch.nn import functional as F

from amanet.model.affine import Affine
from amanet.model.linear import linear
from amanet.model.normed_sum import finish, joins_what_follows, normalise, normalise_by, sweeps_once, sweeps_over
from amanet.model.shared_bodies import SharedBodies, all_bodies
from amanet.model.side_by_side import leads
from amanet.model.tracing import is_traced

_SHARED: ContextVar[SharedBodies | None] = ContextVar("shared", default=None)
_AGAIN: ContextVar[bool] = ContextVar("again", default=False)


@contextmanager
def counting_copies(shared: SharedBodies | None) -> Iterator[None]:
    """Within it, each body of the features (their first axis) stands for so many equal ones; for None, for itself."""
    token = _SHARED.set(shared)
    try:
        yield
    finally:
        _SHARED.reset(token)


class ComputingAgain:
    """Within it a forward pass that shared these bodies repeats itself, and no running statistics follow it.

    It can be entered again, as a graph that is kept repeats the pass for every gradient.
    """

    def __init__(self, shared: SharedBodies | None) -> None:
        self.shared = shared

    def __enter__(self) -> None:
        self.tokens = _AGAIN.set(True), _SHARED.set(self.shared)

    def __exit__(self, *_: object) -> None:
        again, shared = self.tokens
        _SHARED.reset(shared)
        _AGAIN.reset(again)


def _shared() -> SharedBodies | None:
    return None if is_traced() else _SHARED.get()  # a compiled graph knows no context


def _computes_again() -> bool:
    return not is_traced() and _AGAIN.get()


def counted_bodies(features: Float[Tensor, "clip_body *rows channel"]) -> SharedBodies:
    """How many equal bodies each body of the features stands for."""
    return _shared() or all_bodies(features)


class BatchNorm(nn.BatchNorm1d):
    """BatchNorm with PyTorch's defaults over every axis but the last.

    With ``synchronise`` the statistics of a training step are those of all processes together, so that a step on two processes computes
    what one process computes on the joined batch; without it every process normalises its own part, as the paper's 16 clips a worker.
    """

    synchronise: bool = False

    def forward(
        self,
        input: Float[Tensor, "*batch channel"],
        residual: Float[Tensor, "*batch channel"] | None = None,
        *,
        activates: bool = False,
        missing: Float[Tensor, " channel"] | None = None,
    ) -> Float[Tensor, "*batch channel"]:
        """The normalised input, plus a residual, through a ReLU if it ``activates``.

        ``missing`` is what every row of the input lacks, such as the bias of the map before. In training BN takes it away again, so that no
        sweep over memory need add it: only the running mean knows of it, and its gradient is zero.

        Raises:
            ValueError: the input has other channels, or the residual another shape.
        """
        self._check(input, residual)
        if not self.synchronises():
            if self.training and sweeps_over(input):
                return self._sweep(input, _shared(), residual, activates=activates, missing=missing)
            if not self.training and sweeps_once(input):
                return normalise_by(self._running(missing), input, residual, activates=activates)
        forward = self._forward_synchronised if self.synchronises() else self._forward_plainly
        return finish(forward(input if missing is None else input + missing.to(input.dtype)), residual, activates=activates)

    def _check(self, input: Tensor, residual: Tensor | None) -> None:
        """Loops and kernels do not: they would read what lies behind."""
        if input.shape[-1] != self.num_features or (residual is not None and residual.shape != input.shape):
            beside = "" if residual is None else f" and a residual of {tuple(residual.shape)}"
            raise ValueError(f"BN of {self.num_features} channels, and a residual of the input's shape: got {tuple(input.shape)}{beside}")

    def _sweep(
        self,
        input: Float[Tensor, "*batch channel"],
        shared: SharedBodies | None,
        residual: Float[Tensor, "*batch channel"] | None,
        *,
        activates: bool,
        missing: Float[Tensor, " channel"] | None,
    ) -> Float[Tensor, "*batch channel"]:
        bodies, copies = (len(input), None) if shared is None else (shared.bodies, shared.copies)
        rows = float(bodies * input[0, ..., 0].numel())
        bias = self.bias if missing is None else self.bias + 0 * missing
        output, mean, variance = normalise(input, self.weight, bias, self.eps, rows, copies, residual, activates=activates)
        self.track(mean if missing is None else mean + missing.detach(), variance, rows)
        return output

    def _forward_plainly(self, input: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        mean, variance = self.running_mean, self.running_var
        assert mean is not None
        assert variance is not None
        if _computes_again():
            mean, variance = mean.clone(), variance.clone()  # for the kernel to follow
        momentum = self._count_batch() if self.training and not _computes_again() else 0.0
        rows = input.reshape(-1, self.num_features)
        output = F.batch_norm(rows, mean, variance, self.weight, self.bias, self.training, momentum, self.eps)
        return output.view(input.shape)

    def _running(self, missing: Float[Tensor, " channel"] | None) -> Affine:
        """What evaluation does to an input that lacks what is ``missing``."""
        assert self.running_mean is not None
        assert self.running_var is not None
        mean = self.running_mean if missing is None else self.running_mean - missing
        return Affine(self.weight, self.bias, mean, self.running_var, self.eps)

    def folds(self, features: Tensor) -> bool:
        """Whether it is best a part of the map before it: in evaluation, unless a GPU joins it with what follows it."""
        return not self.training and not joins_what_follows(features)

    def synchronises(self) -> bool:
        """Whether the next step takes its statistics over all processes."""
        return self.training and self.synchronise and is_available() and is_initialized()

    def fold(self, weight: Float[Tensor, "channel *source"], bias: Float[Tensor, " channel"] | None = None) -> tuple[Tensor, Tensor]:
        """Weight and bias of a linear map or convolution that ends in this BN's result, in evaluation."""
        assert self.running_mean is not None
        assert self.running_var is not None
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - (self.running_mean if bias is None else self.running_mean - bias) * scale
        return weight * scale.view(-1, *[1] * (weight.dim() - 1)), shift

    def track(self, mean: Float[Tensor, " channel"], variance: Float[Tensor, " channel"], rows: Tensor | float) -> None:
        """Let the running statistics follow those of a training step, whose variance is that of its rows."""
        if _computes_again() or not leads():
            return
        assert self.running_mean is not None
        assert self.running_var is not None
        if not isinstance(rows, Tensor) and rows < 2:
            raise ValueError(f"BN needs more than one value of a channel in training, got {rows:.0f}: give it more clips, frames or joints")
        with torch.no_grad():
            momentum = self._count_batch()
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), momentum)
            self.running_var.lerp_((variance * (rows / (rows - 1))).to(self.running_var.dtype), momentum)

    def _count_batch(self) -> float:
        """Counts a step of training; how far the running statistics follow it, an equal share of all steps where ``momentum`` is None."""
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        return 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum

    def _forward_synchronised(self, input: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch channel"]:
        kind = torch.promote_types(input.dtype, torch.float32)  # half precision neither counts nor adds up
        with torch.autocast(input.device.type, enabled=False):
            rows = input.reshape(-1, self.num_features).to(kind)
            copies = counted_bodies(input).copies.to(kind).repeat_interleave(len(rows) // len(input))
            return self._normalise_synchronised(rows, copies).view(input.shape).to(input.dtype)

    def _normalise_synchronised(self, rows: Float[Tensor, "row channel"], copies: Float[Tensor, " row"]) -> Float[Tensor, "row channel"]:
        with torch.no_grad():  # sums of squares keep their precision about the mean, even a rounded one
            count, first = _SumOverProcesses.apply(torch.cat([copies.sum()[None], copies @ rows])).split([1, self.num_features])
            shift = first / count
        centred = rows - shift
        first, second = _SumOverProcesses.apply(torch.cat([copies @ centred, copies @ centred.square()])).split(self.num_features)
        mean = first / count
        variance = second / count - mean.square()
        self.track((mean + shift).detach(), variance.detach(), count)
        return (centred - mean) * (variance + self.eps).rsqrt() * self.weight + self.bias


class NormedLinear(nn.Sequential):
    """A linear map and BN; in evaluation BN is a part of the map."""

    def __init__(self, channels: tuple[int, int], *, bias: bool = False) -> None:
        super().__init__(nn.Linear(*channels, bias=bias), BatchNorm(channels[1]))

    def forward(self, input: Float[Tensor, "*batch channel"]) -> Float[Tensor, "*batch mapped_channel"]:
        linear, norm = self._parts()
        return map_and_normalise(linear.weight, linear.bias, norm, input)

    def folds(self, features: Tensor) -> bool:
        """Whether BN is a part of the map."""
        return self._parts()[1].folds(features)

    def folded(self) -> tuple[Float[Tensor, "mapped_channel channel"], Float[Tensor, " mapped_channel"]]:
        """Weight and bias of both in evaluation."""
        linear, norm = self._parts()
        return norm.fold(linear.weight, linear.bias)

    def _parts(self) -> tuple[nn.Linear, BatchNorm]:
        linear, norm = self
        assert isinstance(linear, nn.Linear)
        assert isinstance(norm, BatchNorm)
        return linear, norm


def map_and_normalise(
    weight: Float[Tensor, "mapped_channel channel"],
    bias: Float[Tensor, " mapped_channel"] | None,
    norm: BatchNorm,
    features: Float[Tensor, "*batch channel"],
    residual: Float[Tensor, "*batch mapped_channel"] | None = None,
    *,
    activates: bool = False,
) -> Float[Tensor, "*batch mapped_channel"]:
    """A linear map, BN, and what follows it."""
    if norm.folds(features):
        folded, shift = norm.fold(weight, bias)
        return finish(linear(features, folded), residual, activates=activates, shift=shift)
    return norm(linear(features, weight), residual, activates=activates, missing=bias)


class _SumOverProcesses(torch.autograd.Function):
    """Sum of a tensor over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: object, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        all_reduce(total, op=ReduceOp.SUM)
        return total

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        all_reduce(total, op=ReduceOp.SUM)
        return total


class DataNorm(nn.Module):
    """BN over the (body, joint, channel) features of a clip, statistics over (clip, frame): the last step of DP (Eq. 8)."""

    def __init__(self, bodies: int, joints: int, channels: int) -> None:
        super().__init__()
        self.norm = BatchNorm(bodies * joints * channels)

    def forward(self, features: Float[Tensor, "clip body frame joint channel"]) -> Float[Tensor, "clip body frame joint channel"]:
        by_frame = features.transpose(1, 2)
        return self.norm(by_frame.flatten(2)).view(by_frame.shape).transpose(1, 2)
