"""Attention (Eq. 2) of tokens to tokens, and what SFEM, FF, JF and STFEM have in common.

Features are (clip_body, frame, joint, channel) everywhere, where clip_body runs over the bodies of all clips. Channels last makes every 1x1
convolution one matrix product, lets temporal convolutions run without a copy, and makes the windows of STFEM a strided view.
"""

import math
from functools import lru_cache
from importlib.util import find_spec
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from amanet.errors import ExperimentError
from amanet.model.tracing import is_traced
from amanet.skeleton import SkeletonLayout
from amanet.skeleton.graph import adjacency, normalise_symmetric, tile_window, with_self_loops

Features = Float[Tensor, "clip_body frame joint channel"]
Mapped = Float[Tensor, "clip_body mapped_frame joint mapped_channel"]
Queries = Float[Tensor, "batch group query key_channel"]
Keys = Float[Tensor, "batch group key key_channel"]
Values = Float[Tensor, "batch group key channel"]
Graph = Float[Tensor, "query key"]
GraphJoins = Literal["scores", "correlations"]
"""Where the weighted graph is added: to the scores, before the softmax, or to the correlations, after it."""
Map = tuple[Float[Tensor, "mapped_channel channel"], Float[Tensor, " mapped_channel"]]
"""Weight and bias of a linear map."""


ALIGNED = 8
"""Channels come in multiples of so many, lest a GPU's kernels for attention refuse them; to a CPU it is a vector register."""


def correlate(
    query: Queries, key: Keys, graph: Graph | None = None, joins: GraphJoins = "scores", width: int | None = None
) -> Float[Tensor, "batch group query key"]:
    """The correlation matrix: Softmax(Q K^T / sqrt(d)) over the last axis, d the channels of Q (Eq. 2), with the graph added.

    ``width`` is d where Q holds more channels than it was meant to have.
    """
    products, scale = query @ key.transpose(-2, -1), 1 / math.sqrt(width or query.shape[-1])
    if graph is None:
        return torch.softmax(products * scale, dim=-1)
    if joins == "scores":
        return torch.softmax(torch.add(graph, products, alpha=scale), dim=-1)
    return torch.softmax(products * scale, dim=-1) + graph


def attend(
    query: Queries, key: Keys, value: Values, graph: Graph | None = None, joins: GraphJoins = "scores", width: int | None = None
) -> Float[Tensor, "batch group query channel"]:
    """:func:`correlate` times V, fused where that is the faster way: always on a GPU, over long sequences on a CPU."""
    inside = graph if joins == "scores" else None
    if not _fused_is_faster(query, value, inside):
        return correlate(query, key, graph, joins, width) @ value
    mask, scale = None if inside is None else inside.to(query.dtype), 1 / math.sqrt(width or query.shape[-1])
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    return mixed if graph is None or joins == "scores" else mixed + graph.to(value.dtype) @ value


def _fused_is_faster(query: Tensor, value: Tensor, bias: Tensor | None) -> bool:
    if query.device.type != "cpu":
        return True
    return query.shape[-2] > 64 and query.shape[-1] == value.shape[-1] and not (bias is not None and bias.requires_grad)


def works_in_pieces(features: Tensor) -> bool:
    """Whether a module takes its work apart by hand (:mod:`amanet.model.piecewise`), which pays where a cache is to be kept filled.

    A compiler is left to do it by itself, and compiled loops (:mod:`amanet.loops.products`) know no half precision.
    """
    whole = features.dtype in (torch.float32, torch.float64) and not torch.is_autocast_enabled("cpu")
    return features.device.type == "cpu" and whole and not is_traced(features)


def runs_kernels(features: Tensor) -> bool:
    """Whether a module runs kernels of its own, written in Triton; a compiler is left to write them by itself."""
    return features.device.type == "cuda" and not is_traced(features) and _knows_triton(features.device)


@lru_cache
def _knows_triton(device: torch.device) -> bool:
    """Triton comes with PyTorch for NVIDIA's GPUs on Linux, and multiplies bfloat16 on those of 2020 (Ampere) and later."""
    return find_spec("triton") is not None and torch.cuda.get_device_capability(device) >= (8, 0)


def query_features(query: Map, key: Map) -> Map:
    r"""One map instead of Q's and K's: the features themselves are its keys.

    .. math:: q_i \cdot k_j = (W_q x_i + b_q) \cdot (W_k x_j + b_k) = W_k^T (W_q x_i + b_q) \cdot x_j + q_i \cdot b_k

    The last term is the same for all keys j, so the softmax cancels it, and the gradient of :math:`b_k` is zero.
    """
    (query_weight, query_bias), (key_weight, key_bias) = query, key
    return key_weight.t() @ query_weight, key_weight.t() @ query_bias + 0 * key_bias.sum()


def kept_frames(features: Features, stride: int) -> Float[Tensor, "clip_body kept_frame joint channel"]:
    """The frames that a stride keeps; all of them as they are, as a slice of everything costs its gradient a copy."""
    return features if stride == 1 else features[:, ::stride]


def with_ones(features: Features, past: int = 0) -> Float[Tensor, "clip_body padded_frame joint padded_channel"]:
    """A channel of ones beside the features, which makes every bias a weight, zeros up to a multiple of :data:`ALIGNED` channels, and as
    many frames of zeros ``past`` the last.
    """
    ones = features.new_ones(*features.shape[:-1], 1)
    channels = features.shape[-1] + 1
    return F.pad(torch.cat([features, ones], dim=-1), (0, -channels % ALIGNED, 0, 0, 0, past))


def of_ones(linear: Map) -> Float[Tensor, "mapped_channel padded_channel"]:
    """The map of features beside which :func:`with_ones` put a channel of ones."""
    weight, bias = linear
    return F.pad(torch.cat([weight, bias[:, None]], dim=1), (0, -(weight.shape[1] + 1) % ALIGNED))


def split_map(linear: nn.Linear, widths: list[int]) -> list[Map]:
    """The maps that stand below each other in one linear layer."""
    return list(zip(linear.weight.split(widths), linear.bias.split(widths), strict=True))


def check_heads(heads: int, *channels: int) -> None:
    """Refuses heads that do not divide the channels of queries and keys, or of values."""
    if any(each % heads for each in channels):
        widths = " and ".join(map(str, channels))
        raise ExperimentError("the heads do not divide the channels that they share", expected=f"a divisor of {widths}", got=heads)


def split_heads(features: Float[Tensor, "clip_body frame token channel"], heads: int) -> Float[Tensor, "clip_body group token part"]:
    """Channels cut into heads, which join the frames as independent groups."""
    if heads == 1:
        return features
    return features.unflatten(-1, (heads, -1)).transpose(2, 3).flatten(1, 2)


def join_heads(features: Float[Tensor, "clip_body group token part"], heads: int) -> Float[Tensor, "clip_body frame token channel"]:
    """The inverse of :func:`split_heads`."""
    if heads == 1:
        return features
    return features.unflatten(1, (-1, heads)).transpose(2, 3).flatten(3)


def bone_graph(layout: SkeletonLayout, frames: int) -> Float[Tensor, "node node"]:
    """D^-1/2 A_tau D^-1/2 of the bones and joints themselves, tiled over a window of so many frames."""
    tiled = tile_window(with_self_loops(adjacency(layout)), frames)
    return torch.from_numpy(normalise_symmetric(tiled)).to(torch.get_default_dtype())
