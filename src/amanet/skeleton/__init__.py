"""The vocabulary: skeleton layouts, graphs over joints, clips and batches, and the four streams."""

from amanet.skeleton.clip import ClipBatch, SkeletonClip
from amanet.skeleton.layout import BodyPart, JointGroup, SkeletonLayout, layout_names, load_layout
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
