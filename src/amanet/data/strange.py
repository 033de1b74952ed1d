"""The strangest clips of a store, each with a sentence that says why it is one."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from amanet.data.store import ClipStore
from amanet.data.survey import STEADY_FRAMES, Survey
from amanet.skeleton import SkeletonClip, SkeletonLayout

MIRRORED_CLIPS = 20
"""Clips that must tell which way they face before a store is said to be mirrored: feet are seen badly, and one clip proves little."""

MOSTLY = 0.5
"""A clip of which a larger share of the frames shows nobody is said to be empty."""

OTHER_SIZE = 3
"""A clip so many times as large as usual, or as small, is perhaps in another unit; people differ less."""


@dataclass(frozen=True)
class Strange:
    """A clip that is worth a look.

    Attributes:
        kind: what it is the strangest of; part of the picture's name.
        row: of the store.
        sample: its name.
        why: a sentence.
        span: the frames to look at, from the first up to, without, the second; all of them if None.
    """

    kind: str
    row: int
    sample: str
    why: str
    span: tuple[int, int] | None = None


def strangest(store: ClipStore, found: Survey, clips: int = 1) -> list[Strange]:
    """The strangest clips of each kind; none of a kind in which nothing is strange."""
    frames, bodies = (store.index[name].to_numpy().astype(np.float64) for name in ("frames", "bodies"))
    usual = {"frames": np.median(frames), "bodies": np.median(bodies), "missing": np.median(found.missing)}
    kinds: dict[str, tuple[Float[np.ndarray, " clip"], float, Callable[[int, SkeletonClip], str]]] = {
        "longest": (
            frames,
            usual["frames"],
            lambda row, _: f"The longest: {frames[row]:g} frames, where the median is {usual['frames']:g}.",
        ),
        "shortest": (-frames, -usual["frames"], lambda row, _: f"The shortest: {frames[row]:g} frames; the median is {usual['frames']:g}."),
        "missing": (found.missing, 0, lambda row, clip: _why_missing(found.missing[row], usual["missing"], clip, store.layout)),
        "jump": (found.jump, 0, lambda row, clip: _why_jump(found.jump[row], clip, store.layout)),
        "unsteady": (found.unsteady, 0, lambda row, clip: _why_unsteady(found.unsteady[row], clip, store.layout)),
        "size": (_unlikeness(found.size), np.log(OTHER_SIZE), lambda row, _: _why_size(found.size, row)),
        "bodies": (bodies, usual["bodies"], lambda row, _: f"The most bodies: {bodies[row]:g}, where the median is {usual['bodies']:g}."),
        "empty": (found.empty, MOSTLY, lambda row, _: f"Mostly empty: {found.empty[row]:.0%} of its {frames[row]:g} frames show nobody."),
        "ghost": (
            np.where(bodies > 1, -found.briefest, -1),
            -1,
            lambda row, _: f"A ghost perhaps: one of its bodies is there in {found.briefest[row]:.0%} of the frames.",
        ),
    }
    chosen = []
    for kind, (measure, ordinary, why) in kinds.items():
        for row in np.argsort(-measure, kind="stable")[:clips].tolist():
            if measure[row] > ordinary:
                clip = store.clip(row)
                span = _around_jump(clip, store.layout) if kind == "jump" else None
                chosen.append(Strange(kind, row, clip.sample, why(row, clip), span))
    return chosen


def warnings(found: Survey) -> list[str]:
    """What looks wrong with the store as a whole."""
    forward, upright = found.forward[~np.isnan(found.forward)], found.upright[~np.isnan(found.upright)]
    warned = []
    if len(forward) >= MIRRORED_CLIPS and np.median(forward) < 0:
        warned.append(
            f"Left and right seem to be exchanged, or an axis to be mirrored: in {np.mean(forward < 0):.0%} of {len(forward):,} clips toes "
            "and knees point backwards. Compare the order of the joints with the layout, and look at a film strip. It was left as it is."
        )
    if len(upright) and np.median(upright) < 0:
        warned.append(
            f"The clips seem to stand on their heads: in {np.mean(upright < 0):.0%} of {len(upright):,} clips feet are above the trunk. "
            "Pictures count y downwards, clips have it upwards. It was left as it is."
        )
    return warned


def _unlikeness(size: Float[np.ndarray, " clip"]) -> Float[np.ndarray, " clip"]:
    """How far each clip is from the usual size, to either side, as a logarithm."""
    seen = size > 0
    if not seen.any():
        return np.zeros(len(size))
    return np.where(seen, np.abs(np.log(np.where(seen, size, 1) / np.median(size[seen]))), 0)


def _why_size(size: Float[np.ndarray, " clip"], row: int) -> str:
    usual = np.median(size[size > 0])
    return f"Of another size: its mean bone is {size[row]:.3g} long, where the median is {usual:.3g}. All clips should have one unit."


def _why_missing(share: float, usual: float, clip: SkeletonClip, layout: SkeletonLayout) -> str:
    seen = clip.present.any(axis=2)
    worst = int((~clip.present[seen]).sum(axis=0).argmax())
    often = (~clip.present[seen][:, worst]).mean()
    joint = _words(layout.joints[worst])
    most = f"most of all the {joint}, absent in {often:.0%} of its frames"
    return f"The most missing joints: {share:.1%}, where the median is {usual:.1%}; {most}."


def _largest_jump(clip: SkeletonClip, layout: SkeletonLayout) -> tuple[int, int, int]:
    """Body, frame before it, and joint."""
    both = clip.present[:, 1:] & clip.present[:, :-1]
    ways = np.where(both, np.linalg.norm(np.diff(clip.joints[..., : layout.num_axes], axis=1), axis=-1), 0)
    body, frame, joint = np.unravel_index(int(ways.argmax()), ways.shape)
    return int(body), int(frame), int(joint)


def _why_jump(size: float, clip: SkeletonClip, layout: SkeletonLayout) -> str:
    body, frame, joint = _largest_jump(clip, layout)
    name = _words(layout.joints[joint]) + (f" of body {body + 1}" if clip.num_bodies > 1 else "")
    return f"The largest jump: from frame {frame + 1} to {frame + 2} the {name} moves {size:.1f} times a mean bone. These frames are drawn."


def _around_jump(clip: SkeletonClip, layout: SkeletonLayout) -> tuple[int, int]:
    """Eight frames with the jump in their middle."""
    first = max(0, _largest_jump(clip, layout)[1] - 3)
    return first, first + 8


def _why_unsteady(size: float, clip: SkeletonClip, layout: SkeletonLayout) -> str:
    child, parent = np.array(layout.bones).T
    lengths = np.linalg.norm(clip.joints[:, :, child, : layout.num_axes] - clip.joints[:, :, parent, : layout.num_axes], axis=-1)
    known = clip.present[..., child] & clip.present[..., parent]
    kept = np.ma.array(lengths, mask=~known | (known.sum(axis=1, keepdims=True) < STEADY_FRAMES))
    variation = np.ma.filled(kept.std(axis=1) / np.ma.maximum(kept.mean(axis=1), 1e-6), 0)
    bone = int(variation.max(axis=0).argmax())
    low, high = (np.ma.filled(part, 0)[int(variation[:, bone].argmax()), bone] for part in (kept.min(axis=1), kept.max(axis=1)))
    ends = f"{_words(layout.joints[child[bone]])} to {_words(layout.joints[parent[bone]])}"
    return f"The least steady bone: {ends} varies by {size:.0%} of its length, between {low:.2g} and {high:.2g}."


def _words(name: str) -> str:
    return name.replace("_", " ")
