"""The four streams of MS-DS (Fig. 6): what each derives from the joints, and the layout of what it derives.

============  =====================================================  ======================
stream        features                                               layout
============  =====================================================  ======================
joint         the joints, J                                          the layout itself
bone          joint minus its parent, B                              the layout itself
joint-fused   barycentre of each group of neighbouring joints, J-F   the contracted layout
bone-fused    bones of the contracted layout, B-F                    the contracted layout
============  =====================================================  ======================
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from amanet.skeleton.graph import adjacency, depth, hop_distance
from amanet.skeleton.layout import BodyPart, JointGroup, SkeletonLayout

Stream = Literal["joint", "bone", "joint-fused", "bone-fused"]
STREAMS: tuple[Stream, ...] = get_args(Stream)


def stream_layout(layout: SkeletonLayout, stream: Stream) -> SkeletonLayout:
    """The layout of the features of a stream."""
    return fuse_layout(layout) if stream.endswith("fused") else layout


def derive_stream(
    joints: Float[Tensor, "*batch joint coord"],
    present: Bool[Tensor, "*batch joint"],
    layout: SkeletonLayout,
    stream: Stream,
) -> tuple[Float[Tensor, "*batch node coord"], Bool[Tensor, "*batch node"]]:
    """The features of a stream and which of them are known.

    A bone is known where both its ends are, and a barycentre where any joint of its group is. The score of 2-D joints is no place: a
    bone takes the lower of its two, a barycentre the mean.
    """
    if stream.endswith("fused"):
        joints, present = barycentres(joints, present, layout.groups)
        layout = fuse_layout(layout)
    if stream.startswith("bone"):
        joints, present = bones(joints, present, layout)
    return joints, present


def bones(
    joints: Float[Tensor, "*batch joint coord"], present: Bool[Tensor, "*batch joint"], layout: SkeletonLayout
) -> tuple[Float[Tensor, "*batch joint coord"], Bool[Tensor, "*batch joint"]]:
    """Joint minus its parent towards the body's centre; the root has the zero bone, so J joints give J bones."""
    parents = _parents(layout.parents, joints.device)
    known = present & present[..., parents]
    vectors = joints - joints[..., parents, :]
    if layout.coordinates == "xy-score":
        score = torch.minimum(joints[..., 2:], joints[..., parents, :][..., 2:])
        vectors = torch.cat([vectors[..., :2], score], dim=-1)
    return torch.where(known[..., None], vectors, 0), known


def barycentres(
    joints: Float[Tensor, "*batch joint coord"], present: Bool[Tensor, "*batch joint"], groups: Sequence[JointGroup]
) -> tuple[Float[Tensor, "*batch group coord"], Bool[Tensor, "*batch group"]]:
    """Mean of the joints of each group that were seen."""
    members = _members(tuple(group.joints for group in groups), joints.shape[-2], joints.dtype, joints.device)
    seen = present.to(joints.dtype)[..., None]
    count = members @ seen
    return members @ (joints * seen) / count.clamp(min=1), count[..., 0] > 0


@lru_cache
def _parents(parents: tuple[int, ...], device: torch.device) -> Int[Tensor, " joint"]:
    """Kept, as a copy to a GPU would wait for it at every step."""
    with torch.inference_mode(False):  # to serve a training too
        return torch.tensor(parents, device=device)


@lru_cache
def _members(groups: tuple[tuple[int, ...], ...], joints: int, kind: torch.dtype, device: torch.device) -> Float[Tensor, "group joint"]:
    """One where a group holds a joint."""
    with torch.inference_mode(False):
        members = torch.zeros(len(groups), joints, dtype=kind)
        for row, group in enumerate(groups):
            members[row, list(group)] = 1
        return members.to(device)


def fuse_layout(layout: SkeletonLayout) -> SkeletonLayout:
    """The layout contracted to its groups: one joint a group, linked where their joints are.

    The root, the centre and every origin become the group that holds them. Where a part's anchor falls into the group of its origin, the
    first other group of the part stands in for it, if there is one. Where both ends of ``up`` fall into one group, the next one of the
    trunk stands in for the upper end, such as the head, or one below for the lower end.
    """
    group_of = {joint: index for index, group in enumerate(layout.groups) for joint in group.joints}
    parents = tuple(_group_parent(layout, group, group_of) for group in layout.groups)
    left, right = (group_of[joint] for joint in layout.across)
    return SkeletonLayout(
        name=f"{layout.name}-fused",
        coordinates=layout.coordinates,
        joints=tuple(group.name for group in layout.groups),
        parents=parents,
        centre=group_of[layout.centre],
        mirror=tuple(group_of[layout.mirror[group.joints[0]]] for group in layout.groups),
        across=(left, right),
        up=_fuse_up(layout, group_of),
        parts=tuple(_fuse_part(part, layout, group_of) for part in layout.parts),
        groups=tuple(JointGroup(group.name, (index,)) for index, group in enumerate(layout.groups)),
    )


def _group_parent(layout: SkeletonLayout, group: JointGroup, group_of: dict[int, int]) -> int:
    top = min(group.joints, key=lambda joint: depth(layout, joint))
    return group_of[layout.parents[top]]


def _fuse_up(layout: SkeletonLayout, group_of: dict[int, int]) -> tuple[int, int]:
    lower, upper = (group_of[joint] for joint in layout.up)
    if lower != upper:
        return lower, upper
    trunk = next(part.joints for part in layout.parts if layout.root in part.joints)
    others = [joint for joint in trunk if layout.mirror[joint] == joint and group_of[joint] != upper]
    from_lower, from_upper = hop_distance(adjacency(layout))[list(layout.up)]
    above = [joint for joint in others if from_upper[joint] < from_lower[joint]]
    below = [joint for joint in others if from_lower[joint] < from_upper[joint]]
    if above:
        upper = group_of[min(above, key=lambda joint: from_upper[joint])]
    elif below:
        lower = group_of[min(below, key=lambda joint: from_lower[joint])]
    return lower, upper


def _fuse_part(part: BodyPart, layout: SkeletonLayout, group_of: dict[int, int]) -> BodyPart:
    members = tuple(index for index, group in enumerate(layout.groups) if group.joints[0] in part.joints)
    origin, anchor = group_of[part.origin], group_of[part.anchor]
    if origin == anchor:
        anchor = next((member for member in members if member != origin), anchor)
    return BodyPart(part.name, members, origin, anchor)
