"""How work on a CPU is taken apart, so that what a piece needs stays in the cache: pieces, and attention within one."""

import math
import threading
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


_KEPT = threading.local()


def scratch(name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Memory of the calling thread, uninitialised, which it uses again the next time that it asks by that name."""
    kept: dict[str, Tensor] = vars(_KEPT)
    key, numbers = f"{name} {like.dtype}", math.prod(shape)
    if key not in kept or len(kept[key]) < numbers:
        with torch.inference_mode(False):
            kept[key] = torch.empty(numbers, dtype=like.dtype)
    return kept[key][:numbers].view(shape)


class AttentionPiece:
    """Attention of a batch of small items, (item, query, channel) and (item, key, channel), forward and backward.

    What it returns lies in memory of the calling thread, and is good until the next piece.

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
        self.query, self.key, self.value, self.graph = query, key, value, graph
        self.scale = 1 / math.sqrt(width or query.shape[-1])
        self.shape = len(query), query.shape[1], key.shape[1]
        scores = scratch("scores", self.shape, query)
        self._scale_product(query, key.transpose(1, 2), scores, bias)
        if masked:
            scores[..., -masked:] = -torch.inf
        if complete is not None:
            complete(scores)
        self.softmax = torch.softmax(scores, dim=-1, out=scores)
        self.correlations = scores if graph is None else torch.add(scores, graph, out=scratch("correlations", self.shape, query))

    def mix(self, out: Tensor | None = None) -> Tensor:
        return torch.bmm(self.correlations, self.value, out=self._like("mixed", self.query, self.value) if out is None else out)

    def gradients(
        self, gradient: Tensor, of_graph: Tensor | None = None, of_query: Tensor | None = None, of_memory: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of query, key, value and scores; that of what was added to the scores or to the correlations is added to ``of_graph``.

        Where the keys are the values, theirs are one sum. Those of the query, and of as many keys as there is memory for, are written to
        ``of_query`` and ``of_memory`` where they are given.
        """
        of_value = self._like("of_value", self.key, self.value) if of_memory is None else of_memory
        keys = of_value.shape[1]
        torch.bmm(self.correlations[..., :keys].transpose(1, 2), gradient, out=of_value)
        of_scores = torch.bmm(gradient, self.value.transpose(1, 2), out=scratch("of_scores", self.shape, gradient))
        if of_graph is not None and self.graph is not None:
            of_graph += of_scores.sum(0)
        torch.ops.aten._softmax_backward_data(of_scores, self.softmax, -1, of_scores.dtype, grad_input=of_scores)
        if of_graph is not None and self.graph is None:
            of_graph += of_scores.sum(0)
        of_query = self._scale_product(
            of_scores, self.key, self._like("of_query", self.query, self.query) if of_query is None else of_query
        )
        by_key = of_scores[..., :keys].transpose(1, 2)
        if self.key is self.value:
            of_key = torch.baddbmm(of_value, by_key, self.query, alpha=self.scale, out=of_value)
        else:
            of_key = self._scale_product(by_key, self.query, self._like("of_key", self.key, self.key))
        return of_query, of_key, of_value, of_scores

    def _scale_product(self, left: Tensor, right: Tensor, out: Tensor, bias: Tensor | None = None) -> Tensor:
        if bias is None:
            return torch.baddbmm(left.new_zeros(()), left, right, beta=0, alpha=self.scale, out=out)
        return torch.baddbmm(bias, left, right, alpha=self.scale, out=out)

    def _like(self, name: str, tokens: Tensor, channels: Tensor) -> Tensor:
        return scratch(name, (*tokens.shape[:2], channels.shape[2]), tokens)
