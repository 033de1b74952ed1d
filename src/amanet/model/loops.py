"""How a loop that numba compiled sees tensors, and how PyTorch hears of it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from amanet.loops.compiled import LINE, Kernel

LEAST_STREAMED = 1 << 18
"""Numbers of a tensor that is written past the caches; a smaller one may still be in them when it is read."""


def run(loop: Callable[..., Any], *arguments: Any) -> Any:
    """Calls the loop with the memory of its tensors, also those in named tuples; they must know nothing of gradients."""
    Kernel.make_all()
    return loop(*map(_seen, arguments))


def _seen(argument: Any) -> Any:
    if isinstance(argument, Tensor):
        return argument.numpy()
    return type(argument)(*map(_seen, argument)) if isinstance(argument, tuple) else argument


_OPERATORS = torch.library.Library("amanet", "DEF")
_OPERATORS.define("multiplied(Tensor seen, int operations) -> ()")
_OPERATORS.impl("multiplied", lambda seen, operations: None, "CompositeExplicitAutograd")


def tell_multiplied(seen: Tensor, operations: int) -> None:
    """Does nothing but tell a counter of PyTorch's operators (:func:`amanet.cost.counter`) what a loop multiplies, two a multiply-add."""
    torch.ops.amanet.multiplied(seen, operations)


def streams(*written: Tensor | None) -> bool | None:
    """Whether the loop may write the rows of these tensors past the caches (:func:`~amanet.loops.compiled.put`): True or None."""
    return True if all(each is None or _is_streamed(each) for each in written) else None


def _is_streamed(written: Tensor) -> bool:
    bytes_of_row = written.shape[-1] * written.element_size()
    return written.numel() >= LEAST_STREAMED and bytes_of_row % LINE == 0 and written.data_ptr() % LINE == 0
