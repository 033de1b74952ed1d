"""Bodies of a batch that are equal and need to be computed only once: the absent ones.

Most clips of NTU RGB+D hold one body in two slots. An absent body is zeros, which every module turns into the same features in every
clip, as only BN looks beyond one body. So a batch of 16 such clips needs 17 bodies instead of 32.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class SharedBodies:
    """Equal bodies of a batch, each kept once; bodies are numbered clip by clip.

    Attributes:
        kept: bodies to compute.
        place: where each body of the batch is among those kept.
        copies: how many bodies of the batch each kept one stands for.
    """

    kept: Int[Tensor, " kept_body"]
    place: Int[Tensor, " clip_body"]
    copies: Float[Tensor, " kept_body"]

    @property
    def bodies(self) -> int:
        """Bodies of the batch."""
        return len(self.place)


def all_bodies(features: Float[Tensor, "clip_body *rows channel"]) -> SharedBodies:
    """Every body, for itself."""
    bodies = torch.arange(len(features), device=features.device)
    return SharedBodies(bodies, bodies, torch.ones(len(features), device=features.device))


def share_absent(present: Bool[Tensor, "clip body frame joint"]) -> SharedBodies | None:
    """All present bodies, and one absent body for each slot that has any; None where that would spare nothing.

    A slot is a place in a clip: absent bodies of two slots differ, as the network's first BN gives each slot weights of its own.
    """
    absent = ~present.flatten(2).any(-1)
    if absent.sum() <= absent.any(0).sum():
        return None
    clips, slots = absent.shape
    body = torch.arange(clips * slots, device=absent.device).view(clips, slots)
    first = absent.int().argmax(0) * slots + torch.arange(slots, device=absent.device)
    kept, place, copies = torch.where(absent, first, body).flatten().unique(return_inverse=True, return_counts=True)
    return SharedBodies(kept, place, copies.float())  # bfloat16 cannot count to 257
