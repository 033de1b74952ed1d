"""How a loop that numba compiled sees tensors."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from amanet.compiled import LINE

LEAST_STREAMED = 1 << 18
"""Numbers of a tensor that is written past the caches; a smaller one may still be in them when it is read."""


def run(loop: Callable[..., Any], *arguments: Any) -> Any:
    """Calls the loop with the memory of its tensors, which must know nothing of gradients."""
    return loop(*(each.numpy() if isinstance(each, Tensor) else each for each in arguments))


def streams(*written: Tensor | None) -> bool | None:
    """Whether the loop may write the rows of these tensors past the caches (:func:`~amanet.compiled.put`): True or None."""
    return True if all(each is None or _is_streamed(each) for each in written) else None


def _is_streamed(written: Tensor) -> bool:
    bytes_of_row = written.shape[-1] * written.element_size()
    return written.numel() >= LEAST_STREAMED and bytes_of_row % LINE == 0 and written.data_ptr() % LINE == 0
