"""The vocabulary: skeleton layouts, graphs over joints, clips and batches, and the four streams.

Batches and streams are of tensors. Torch is loaded when one of them is first asked for, so that preparing clips does without it.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from amanet.skeleton.clip import SkeletonClip
from amanet.skeleton.layout import BodyPart, JointGroup, SkeletonLayout, layout_names, load_layout

if TYPE_CHECKING:
    from amanet.skeleton.batch import ClipBatch
    from amanet.skeleton.stream import STREAMS, Stream, derive_stream, stream_layout

__all__ = [
    "STREAMS",
    "BodyPart",
    "ClipBatch",
    "JointGroup",
    "SkeletonClip",
    "SkeletonLayout",
    "Stream",
    "derive_stream",
    "layout_names",
    "load_layout",
    "stream_layout",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'batch' if name == 'ClipBatch' else 'stream'}"), name)
