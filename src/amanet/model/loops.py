"""How a loop that numba compiled sees tensors."""

from collections.abc import Callable
from typing import Any

from torch import Tensor


def run(loop: Callable[..., Any], *arguments: Any) -> Any:
    """Calls the loop with the memory of its tensors, which must know nothing of gradients."""
    return loop(*(each.numpy() if isinstance(each, Tensor) else each for each in arguments))
