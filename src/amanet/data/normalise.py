"""From bodies in front of a sensor to the clip a network sees: named recipes of body selection, origin and rotation."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from amanet.data.mend import Mend
from amanet.errors import ExperimentError, LayoutError
from amanet.skeleton import SkeletonClip, SkeletonLayout

Tracks = Literal["slot", "body-id"]
Measure = Callable[[Float32[np.ndarray, "frame joint coord"], Bool[np.ndarray, "frame joint"]], float]

X_AXIS, Y_AXIS, Z_AXIS = np.eye(3)
HALF_TURN = np.diag([-1.0, -1.0, 1.0])
"""About z."""
POSTURE_FRAMES = 5
"""Frames whose mean posture tells how a body stands: one frame would pass the sensor's noise on to the whole clip."""
MSG3D_FRAMES = 300
"""The longest clip of NTU RGB+D, to which MS-G3D replays all."""
MENDED = "aligned"
"""The recipe that takes mended clips: the others reproduce or leave alone what was recorded."""
SHORTEST = 1e-6
"""A vector up to this long has no direction."""


@runtime_checkable
class Normalise(Protocol):
    """From the clip that a reader gives to the one that is stored: at most ``max_bodies`` bodies, the main body first.

    Raises LayoutError where the clip is not of the layout, or the recipe not for it.
    """

    def __call__(self, clip: SkeletonClip, layout: SkeletonLayout, max_bodies: int = 2) -> SkeletonClip: ...


@dataclass(frozen=True)
class Recipe:
    """A way to normalise clips.

    Attributes:
        name: how experiments and stores call it.
        tracks: whether it wants bodies by their slot in the file or by the sensor's body id.
        apply: the recipe itself.
        description: what it does, in a paragraph.
        mend: how clips are mended before; ``apply`` does it too.
    """

    name: str
    tracks: Tracks
    apply: Normalise
    description: str
    mend: Mend | None = None


def align(clip: SkeletonClip, layout: SkeletonLayout, max_bodies: int = 2) -> SkeletonClip:
    """The recipe ``aligned``; see its description in RECIPES."""
    clip.check_fit(layout)
    clip = _select_bodies(clip, _motion(layout.num_axes), max_bodies)
    main, seen = clip.joints[0], clip.present[0]
    places = clip.joints.copy()
    places[..., : layout.num_axes] -= _first_centre(main, seen, layout)
    if layout.coordinates == "xyz":
        places = places @ _upright(main, seen, layout).T.astype(np.float32)
    return clip.with_joints(places)


def face(clip: SkeletonClip, layout: SkeletonLayout, max_bodies: int = 2) -> SkeletonClip:
    """The recipe ``facing``; see its description in RECIPES."""
    clip.check_fit(layout)
    if layout.coordinates != "xyz":
        raise LayoutError("the recipe facing is for 3-D joints", expected="a layout of xyz", got=layout.name, cure="use the recipe aligned")
    pair = _select_bodies(clip, _motion(layout.num_axes), max_bodies)
    if pair.num_bodies != 2:
        return align(clip, layout, max_bodies)
    bodies = list(zip(pair.joints, pair.present, strict=True))
    first, second = (_first_centre(*body, layout) for body in bodies)
    to_z = _turn(np.sum([_mean_vector(*body, *layout.up) for body in bodies], axis=0), Z_AXIS)
    ahead = to_z @ (second - first)
    ahead[2] = 0
    of_first = _turn(ahead, -Y_AXIS) @ to_z
    turns = np.stack([of_first, HALF_TURN @ of_first])[:, None].astype(np.float32)
    return pair.with_joints((pair.joints - (first + second) / 2) @ turns.swapaxes(-1, -2))


def keep_raw(clip: SkeletonClip, layout: SkeletonLayout, max_bodies: int = 2) -> SkeletonClip:
    """The recipe ``raw``; see its description in RECIPES."""
    clip.check_fit(layout)
    return _select_bodies(clip, _motion(layout.num_axes), max_bodies)


def as_msg3d(clip: SkeletonClip, layout: SkeletonLayout, max_bodies: int = 2) -> SkeletonClip:
    """The recipe ``msg3d``; see its description in RECIPES. Replayed to 300 frames it is that framework's input."""
    if layout.name != "ntu25":
        raise LayoutError("the recipe msg3d is for NTU RGB+D only", expected="layout ntu25", got=layout.name, cure="use the recipe aligned")
    clip.check_fit(layout)
    clip = _fill_gaps_as_msg3d(_select_bodies(clip, _spread, max_bodies))
    base, spine, left, right = (layout.joints.index(name) for name in ("spine_base", "spine_mid", "shoulder_left", "shoulder_right"))
    places = (clip.joints - clip.joints[:1, :, [spine]]) * clip.present[..., None]
    first = places[0, 0].astype(np.float64)
    to_z = _turn(first[spine] - first[base], Z_AXIS)
    to_x = _turn(to_z @ (first[right] - first[left]), X_AXIS)
    return clip.with_joints(places @ (to_x @ to_z).T.astype(np.float32))


def as_stgcn(clip: SkeletonClip, layout: SkeletonLayout, max_bodies: int = 2) -> SkeletonClip:
    """The recipe ``stgcn``; see its description in RECIPES."""
    if layout.coordinates != "xy-score":
        raise LayoutError(
            "the recipe stgcn is for 2-D joints with a score",
            expected="a layout like kinetics18",
            got=layout.name,
            cure="use the recipe aligned",
        )
    clip.check_fit(layout)
    sureness = clip.joints[..., 2].sum(axis=2, dtype=np.float64)
    order = np.argsort(-sureness, axis=0, kind="stable")[:max_bodies]
    frame = np.arange(clip.num_frames)
    joints, present = clip.joints[order, frame], clip.present[order, frame]
    seen = present.any(axis=(1, 2))
    return clip.with_joints(joints[seen], present[seen])


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="aligned",
            tracks="body-id",
            apply=align,
            description=(
                "The bodies that move most, the main body first, each at its own time: one that leaves and comes back is absent "
                "meanwhile. The origin is the main body's centre joint where it is first seen, once for the whole clip, so that walking "
                "stays visible. One rotation for the whole clip: the main body's trunk, in the mean of its first five frames, is +z, and "
                "the direction from its right to its left shoulder lies above +x. Clips of 2-D joints are moved and not rotated."
            ),
        ),
        Recipe(
            name="facing",
            tracks="body-id",
            apply=face,
            description=(
                "For two people who do something to each other; each in coordinates of their own. The two bodies that move most, the one "
                "that moves more first. The origin is midway between the places where their centre joints are first seen, once for the "
                "whole clip; +z is the way up, the mean of both trunks in their first five frames; and the other person is first seen in "
                "the direction of -y, so that both look the same way, wherever the sensor stood, left and right lie on the x axis as in an "
                "aligned clip, and their places tell how far apart they are. A clip of which not just two bodies are kept is aligned."
            ),
        ),
        Recipe(
            name="msg3d",
            tracks="slot",
            apply=as_msg3d,
            description=(
                "What MS-G3D and the networks after it train on, to the digit, for comparison with published numbers. The bodies of the "
                "largest spread among the first four slots; a body that is absent at first starts at frame 0 all the same; bodies of "
                "different lengths are replayed to 300 frames; the main body's spine is the origin of every single frame, which hides "
                "walking; its first bone is turned to +z, then its shoulders, from left to right, to +x, which tilts the bone again."
            ),
        ),
        Recipe(
            name="stgcn",
            tracks="slot",
            apply=as_stgcn,
            description=(
                "What ST-GCN and the networks after it train on for Kinetics-Skeleton, for comparison with published numbers. In every "
                "single frame those bodies whose joints have the highest summed score, the surer one first, so a person may change rows "
                "from frame to frame. The middle of the picture is the origin, y is up, and a joint of score 0 is absent."
            ),
        ),
        Recipe(
            name="raw",
            tracks="body-id",
            apply=keep_raw,
            description="The bodies that move most, the main body first, where the sensor saw them.",
        ),
    )
}


def get_recipe(name: str) -> Recipe:
    """The recipe of that name: one of RECIPES, or ``aligned`` with clips mended before, as in ``aligned+score0.3+fill5``.

    Raises:
        ExperimentError: there is none; the message lists the names.
    """
    if name in RECIPES:
        return RECIPES[name]
    mend = Mend.of(name.removeprefix(MENDED)) if name.startswith(MENDED) else None
    if mend is None:
        names = f"one of {', '.join(RECIPES)}, or {MENDED}+score0.3, {MENDED}+fill5, {MENDED}+score0.3+fill5 with numbers of your own"
        raise ExperimentError(f"there is no recipe {name!r}", expected=names)

    def align_mended(clip: SkeletonClip, layout: SkeletonLayout, max_bodies: int = 2) -> SkeletonClip:
        return align(mend.apply(clip, layout), layout, max_bodies)

    description = f"Clips are mended, {mend}, and then: {RECIPES[MENDED].description}"
    return replace(RECIPES[MENDED], name=name, apply=align_mended, description=description, mend=mend)


def _select_bodies(clip: SkeletonClip, measure: Measure, max_bodies: int) -> SkeletonClip:
    """The bodies with the largest measure, in its order; bodies that are never seen are left out."""
    bodies = np.flatnonzero(clip.present.any(axis=(1, 2)))
    if len(bodies) > 1:
        value = [measure(clip.joints[body], clip.present[body]) for body in bodies]
        bodies = bodies[np.argsort(value, kind="stable")[::-1]]
    return clip.with_joints(clip.joints[bodies[:max_bodies]], clip.present[bodies[:max_bodies]])


def _motion(num_axes: int) -> Measure:
    """How much a body moves: mean over joints of the way between the 10th and the 90th percentile of its places, per frame of the clip.

    Percentiles, since a misplaced joint of a few frames is no motion; the share of frames, since a body of a few frames is a ghost.
    """

    def measure(joints: Float32[np.ndarray, "frame joint coord"], present: Bool[np.ndarray, "frame joint"]) -> float:
        frames = present.any(axis=1)
        places, seen = joints[frames, :, :num_axes], present[frames, :, None]
        middle = places.sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
        low, high = np.percentile(np.where(seen, places, middle), [10, 90], axis=0)
        return float(np.linalg.norm(high - low, axis=-1).mean() * frames.mean())

    return measure


def _spread(joints: Float32[np.ndarray, "frame joint coord"], present: Bool[np.ndarray, "frame joint"]) -> float:
    """MS-G3D's measure: standard deviation of all places on each axis over joints and frames alike, summed over the axes."""
    return float(joints[present.any(axis=1)].astype(np.float64).std(axis=(0, 1)).sum())


def _first_centre(
    joints: Float32[np.ndarray, "frame joint coord"], present: Bool[np.ndarray, "frame joint"], layout: SkeletonLayout
) -> Float32[np.ndarray, " axis"]:
    """Place of the centre joint in the first frame that shows it; of the middle of the first frame's joints if none does."""
    shown = np.flatnonzero(present[:, layout.centre])
    if len(shown):
        return joints[shown[0], layout.centre, : layout.num_axes]
    frame = np.flatnonzero(present.any(axis=1))[0]
    return joints[frame, present[frame], : layout.num_axes].mean(axis=0)


def _upright(
    joints: Float32[np.ndarray, "frame joint 3"], present: Bool[np.ndarray, "frame joint"], layout: SkeletonLayout
) -> Float[np.ndarray, "3 3"]:
    """The rotation that brings the trunk onto +z and then, about z, the line from right to left shoulder above +x."""
    (lower, upper), (left, right) = layout.up, layout.across
    to_z = _turn(_mean_vector(joints, present, lower, upper), Z_AXIS)
    sideways = to_z @ _mean_vector(joints, present, right, left)
    sideways[2] = 0
    return _turn(sideways, X_AXIS) @ to_z


def _mean_vector(
    joints: Float32[np.ndarray, "frame joint 3"], present: Bool[np.ndarray, "frame joint"], start: int, end: int
) -> Float[np.ndarray, "3"]:
    """Mean vector between two joints over the first frames that show both; zero if none does."""
    frames = np.flatnonzero(present[:, start] & present[:, end])[:POSTURE_FRAMES]
    return (joints[frames, end] - joints[frames, start]).sum(axis=0, dtype=np.float64) / max(len(frames), 1)


def _turn(vector: Float[np.ndarray, "3"], axis: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3 3"]:
    """The smallest rotation that brings a vector onto an axis of coordinates (Rodrigues); none for a vector without direction."""
    length = np.linalg.norm(vector)
    if length < SHORTEST:
        return np.eye(3)
    direction = vector / length
    cosine = direction @ axis
    if 1 + cosine < SHORTEST**2:  # opposite: half a turn about the next axis of coordinates
        about = np.roll(axis, -1)
        return 2 * np.outer(about, about) - np.eye(3)
    (a, b, c), (d, e, f) = direction, axis
    x, y, z = b * f - c * e, c * d - a * f, a * e - b * d  # np.cross takes seven times as long
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + cross + cross @ cross / (1 + cosine)


def _fill_gaps_as_msg3d(clip: SkeletonClip) -> SkeletonClip:
    """Bodies from frame 0 on, at the clip's real length if all have one length, else replayed each to 300 frames.

    A body that is absent in frame 0 is closed up, gaps and all; one that is there keeps its gaps. Replaying bodies of one length
    later gives the same; of different lengths it does not, as the origin of each frame is the main body's.
    """
    order = [_frames_as_msg3d(present.any(axis=1)) for present in clip.present]
    lengths = {len(frames) for frames in order}
    frames = lengths.pop() if len(lengths) == 1 else max(MSG3D_FRAMES, clip.num_frames)
    chosen = np.stack([one[np.arange(frames) % len(one)] for one in order])
    body = np.arange(clip.num_bodies)[:, None]
    return clip.with_joints(clip.joints[body, chosen], clip.present[body, chosen])


def _frames_as_msg3d(seen: Bool[np.ndarray, " frame"]) -> Int[np.ndarray, " chosen"]:
    """Frames of a body before replaying: all up to the last that shows it, or, if it is absent at first, only those that show it."""
    shown = np.flatnonzero(seen)
    return np.arange(shown[-1] + 1) if seen[0] else shown
