"""How work on a CPU is taken apart, so that what a piece needs stays in the cache."""

import math
import threading
from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from amanet.model.threads import number_of_threads

NUMBERS_AT_ONCE = 1 << 20
"""Numbers in the largest tensor of a piece: 4 MB of float32."""

REGISTER = 8
"""Numbers of float32 in a vector register of AVX2."""

Frames = Float[Tensor, "clip_body frame joint channel"]
Tile = tuple[slice, slice]
"""Bodies, and windows or joints of each."""


def at_once(numbers: int) -> int:
    """How many items of so many numbers each make a piece."""
    return max(1, NUMBERS_AT_ONCE // max(1, numbers))


def cut(items: int, at_once: int) -> Iterator[slice]:
    """Slices of so many items each."""
    return (slice(start, min(start + at_once, items)) for start in range(0, items, max(1, at_once)))


def shares(items: int) -> list[slice]:
    """Of so many items, for the threads that this one has."""
    return list(cut(items, max(1, -(-items // number_of_threads()))))


def tiles(items: tuple[int, int], numbers: int, *, among: int = 1) -> list[Tile]:
    """Pieces of bodies and their items, of so many numbers each: some items of one body, or all items of some bodies.

    There are enough of them for so many threads to have one.
    """
    bodies, each = items
    some = min(at_once(numbers), -(-bodies * each // among))
    shape = min(bodies, max(1, some // each)), min(some, each)
    return [(body, item) for body in cut(bodies, shape[0]) for item in cut(each, shape[1])]


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
            kept[key] = torch.empty(numbers, dtype=like.dtype, device=like.device)
    return kept[key][:numbers].view(shape)
