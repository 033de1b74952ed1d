"""How work on a CPU is taken apart, so that what a piece needs stays in the cache: pieces, and attention within one."""

import math
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

NUMBERS_AT_ONCE = 1 << 20
"""Numbers in the largest tensor of a piece: 4 MB of float32."""

REGISTER = 8
"""Numbers of float32 in a vector register of AVX2."""

Frames = Float[Tensor, "clip_body frame joint channel"]
Tile = tuple[slice, slice]
"""Bodies, and windows or joints of each."""


def at_once(numbers: int) -> int:
    """How many items of so many numbers each make a piece."""
    return max(1, NUMBERS_AT_ONCE // numbers)


def cut(items: int, at_once: int) -> Iterator[slice]:
    """Slices of so many items each."""
    return (slice(start, min(start + at_once, items)) for start in range(0, items, at_once))


def tile_shape(items: tuple[int, int], at_once: int) -> tuple[int, int]:
    """Bodies of a piece and items of each: some items of one body, or all items of some bodies."""
    bodies, each = items
    return min(bodies, max(1, at_once // each)), min(at_once, each)


def tiles(items: tuple[int, int], shape: tuple[int, int]) -> Iterator[Tile]:
    """The pieces of the shape that :func:`tile_shape` gives."""
    for bodies in cut(items[0], shape[0]):
        for some in cut(items[1], shape[1]):
            yield bodies, some


def aligned(keys: int) -> int:
    """That many keys or a few more: matrix products are much slower where the rows of a result do not begin at a whole vector register."""
    return -(-keys // REGISTER) * REGISTER


class AttentionPiece:
    """Attention of a batch of small items, (item, query, channel) and (item, key, channel), forward and backward.

    Args:
        query: the queries.
        key: the keys, of an aligned number; those that do not count are masked.
        value: the values of the keys.
        masked: how many keys at the end do not count.
        bias: what is added to the scores, instead of ``masked``: -inf masks a key.
        graph: what is added to the correlations.
        complete: changes the scores in place, before the softmax.
        width: d of the softmax, where the query holds more channels than it was meant to have.
    """

    def __init__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        *,
        masked: int = 0,
        bias: Tensor | None = None,
        graph: Tensor | None = None,
        complete: Callable[[Tensor], None] | None = None,
        width: int | None = None,
    ) -> None:
        self.query, self.key, self.value = query, key, value
        self.scale = 1 / math.sqrt(width or query.shape[-1])
        self.nothing = query.new_zeros(())
        scores = torch.baddbmm(
            self.nothing if bias is None else bias, query, key.transpose(1, 2), beta=0 if bias is None else 1, alpha=self.scale
        )
        if masked:
            scores[..., -masked:] = -torch.inf
        if complete is not None:
            complete(scores)
        self.softmax = torch.softmax(scores, dim=-1).to(query.dtype)  # autocast would keep it in float32
        self.correlations = self.softmax if graph is None else self.softmax + graph

    def mix(self, out: Tensor | None = None) -> Tensor:
        return torch.bmm(self.correlations, self.value, out=out)

    def gradients(self, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Of query, key, value, correlations and scores."""
        of_value = torch.bmm(self.correlations.transpose(1, 2), gradient)
        of_correlations = torch.bmm(gradient, self.value.transpose(1, 2))
        of_scores = torch.ops.aten._softmax_backward_data(of_correlations, self.softmax, -1, self.softmax.dtype)
        of_query = torch.baddbmm(self.nothing, of_scores, self.key, beta=0, alpha=self.scale)
        of_key = torch.baddbmm(self.nothing, of_scores.transpose(1, 2), self.query, beta=0, alpha=self.scale)
        return of_query, of_key, of_value, of_correlations, of_scores
