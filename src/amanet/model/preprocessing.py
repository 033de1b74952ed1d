"""DP, the data preprocessing of Eqs. 3-8: from raw joints to joints, relative coordinates, velocity and acceleration."""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from amanet.errors import LayoutError
from amanet.skeleton import SkeletonLayout

DPChoice = Literal["none", "vel+acc", "vel+acc+relative", "vel+acc+alien", "vel+acc+both"]
AlienChoice = Literal["frame", "pinv"]
DP_CHOICES: tuple[DPChoice, ...] = get_args(DPChoice)

Joints = Float[Tensor, "clip body frame joint coord"]
Present = Bool[Tensor, "clip body frame joint"]

SHORTEST_BONE = 0.02
"""A bone shorter than this part of the longest of its kind in its frame, or a reference this close to parallel, spans no frame."""


class DP(nn.Module):
    """Data preprocessing (Eqs. 3-8, Alg. 1), without its BN, which follows as :class:`~amanet.model.normalisation.DataNorm`.

    .. math:: I_{DP} = Concat(I, I_{rel}, I_{vel}, I_{acc})

    ==============  ==========================================================  ==================
    symbol          meaning                                                     here
    ==============  ==========================================================  ==================
    :math:`I`       joints                                                      ``joints``
    :math:`I_rel`   relative coordinates: general (Eq. 5), alien (Eqs. 6-7)     :func:`relative_coordinates`, :class:`AlienCoordinates`
    :math:`I_vel`   velocity (Eq. 3)                                            :func:`velocity`
    :math:`I_acc`   acceleration (Eq. 4)                                        :func:`acceleration`
    ==============  ==========================================================  ==================

    Derived groups are zero where a joint that they need is absent. In 2-D they carry x and y only; the score stays in the first group.

    Args:
        layout: the skeleton.
        choice: which groups follow the joints (Table 2).
        alien: how Eqs. 6-7 are read, see :class:`AlienCoordinates`.
        scale: s, the place of each part's anchor on its x axis (Fig. 7).
    """

    def __init__(
        self, layout: SkeletonLayout, choice: DPChoice = "vel+acc+alien", alien: AlienChoice = "frame", scale: float = 1.2
    ) -> None:
        super().__init__()
        self.layout = layout
        self.choice: DPChoice = choice
        self.alien = AlienCoordinates(layout, alien, scale) if choice in ("vel+acc+alien", "vel+acc+both") else None

    @property
    def num_channels(self) -> int:
        """Channels of a joint after DP."""
        derived = {"none": 0, "vel+acc": 2, "vel+acc+relative": 3, "vel+acc+alien": 3, "vel+acc+both": 4}[self.choice]
        return self.layout.num_coords + derived * self.layout.num_axes

    def forward(self, joints: Joints, present: Present) -> Float[Tensor, "clip body frame joint channel"]:
        if self.choice == "none":
            return joints
        places = joints[..., : self.layout.num_axes]
        groups = [joints]
        if self.choice in ("vel+acc+relative", "vel+acc+both"):
            groups.append(relative_coordinates(places, present, self.layout.centre))
        if self.alien is not None:
            groups.append(self.alien(places, present))
        speed, known = velocity(places, present)
        groups += [speed, acceleration(speed, known)]
        return torch.cat(groups, dim=-1)


def velocity(places: Joints, present: Present) -> tuple[Joints, Present]:
    """Eq. 3: v[t] = I[t] - I[t-1], and v[0] = I[0]; with it, where it is known."""
    known = torch.cat([present[:, :, :1], present[:, :, 1:] & present[:, :, :-1]], dim=2)
    speed = torch.cat([places[:, :, :1], places.diff(dim=2)], dim=2)
    return speed * known[..., None], known


def acceleration(speed: Joints, known: Present) -> Joints:
    """Eq. 4: a[t] = v[t] - v[t-1] for t >= 2; a[0] = v[0], a[1] = v[1]."""
    change = speed[:, :, 2:] - speed[:, :, 1:-1]
    return torch.cat([speed[:, :, :2], change * (known[:, :, 2:] & known[:, :, 1:-1])[..., None]], dim=2)


def relative_coordinates(places: Joints, present: Present, centre: int) -> Joints:
    """Eq. 5: joint minus centre joint."""
    known = present & present[..., centre, None]
    return (places - places[..., centre, None, :]) * known[..., None]


class AlienCoordinates(nn.Module):
    """Alien relative coordinates (Eqs. 6-7, Alg. 1): every joint in the frame of reference of its part of the body.

    ==================  ==================================================================
    symbol              meaning
    ==================  ==================================================================
    :math:`o_i`         origin of part i, which maps to 0
    :math:`Q_i`         its anchor, which maps to (s, 0, 0)
    :math:`e_1`         unit vector from o to Q
    :math:`e_2`         unit part of the reference direction orthogonal to e1
    :math:`e_3`         e1 x e2
    ==================  ==================================================================

    ``frame`` reads the paper's moving frame: x' = (s / |Q - o|) [e1 e2 e3]^T (x - o). It does not change when the body is turned, moved
    or grows. The reference direction is the trunk for limbs and the line of the shoulders for the trunk; in 2-D, e2 is e1 turned by 90
    degrees. ``pinv`` takes Eqs. 6-7 to the letter: R = -o, T = ((s,0,0) - R) pinv(Q), x' = T x + R, a T of rank one.

    A part gives zeros in a frame where its origin, its anchor or its reference is absent, short or parallel. For ``pinv`` the anchor is
    short where Q lies all but at the origin of all coordinates, as the trunk's always does by the recipe ``msg3d``.

    Raises:
        LayoutError: a part of the layout has no ``frame`` in any clip, as where the groups of a fused scale hold its joints together.
    """

    origin_of_joint: Tensor
    part_of_joint: Tensor
    ends: Tensor
    reference: Tensor

    def __init__(self, layout: SkeletonLayout, reading: AlienChoice, scale: float) -> None:
        super().__init__()
        self.reading: AlienChoice = reading
        self.scale = scale
        self.num_axes = layout.num_axes
        part_of_joint = [0] * layout.num_joints
        for index, part in enumerate(layout.parts):
            for joint in part.joints:
                part_of_joint[joint] = index
        references = [layout.across if layout.root in part.joints else layout.up for part in layout.parts]
        if reading == "frame":
            _check_directions(layout, references)
        self.register_buffer("part_of_joint", torch.tensor(part_of_joint), persistent=False)
        self.register_buffer("ends", torch.tensor([(part.origin, part.anchor) for part in layout.parts]), persistent=False)
        self.register_buffer("reference", torch.tensor(references), persistent=False)

    def forward(self, places: Joints, present: Present) -> Joints:
        origin, anchor = places[..., self.ends[:, 0], :], places[..., self.ends[:, 1], :]
        spanned = present[..., self.ends].all(dim=-1)
        if self.reading == "pinv":
            mapped, spanned = self._map_by_pinv(places, origin, anchor, spanned)
        else:
            mapped, spanned = self._map_by_frame(places, present, origin, anchor, spanned)
        known = present & spanned[..., self.part_of_joint]
        return torch.where(known[..., None], mapped, 0)

    def _map_by_frame(
        self, places: Joints, present: Present, origin: Tensor, anchor: Tensor, spanned: Tensor
    ) -> tuple[Joints, Bool[Tensor, "clip body frame part"]]:
        bone = anchor - origin
        length = _length(bone)
        spanned = spanned & _long_enough(length, spanned)
        first = bone / torch.where(spanned, length, 1)[..., None]
        if self.num_axes == 2:
            axes = torch.stack([first, torch.stack([-first[..., 1], first[..., 0]], dim=-1)], dim=-2)
        else:
            reference = places[..., self.reference[:, 1], :] - places[..., self.reference[:, 0], :]
            across = reference - (reference * first).sum(-1, keepdim=True) * first
            size = _length(across)
            spanned = spanned & present[..., self.reference].all(dim=-1) & (size > SHORTEST_BONE * _length(reference))
            second = across / torch.where(spanned, size, 1)[..., None]
            axes = torch.stack([first, second, torch.linalg.cross(first, second)], dim=-2)
        axes = axes * (self.scale / torch.where(spanned, length, 1))[..., None, None]
        offset = places - origin[..., self.part_of_joint, :]
        return (axes[..., self.part_of_joint, :, :] @ offset[..., None])[..., 0], spanned

    def _map_by_pinv(
        self, places: Joints, origin: Tensor, anchor: Tensor, spanned: Tensor
    ) -> tuple[Joints, Bool[Tensor, "clip body frame part"]]:
        length = _length(anchor)
        spanned = spanned & _long_enough(length, spanned)
        inverse = anchor / torch.where(spanned, length.square(), 1)[..., None]
        target = origin.clone()
        target[..., 0] += self.scale
        along = (places * inverse[..., self.part_of_joint, :]).sum(-1, keepdim=True)
        return target[..., self.part_of_joint, :] * along - origin[..., self.part_of_joint, :], spanned


def _check_directions(layout: SkeletonLayout, references: list[tuple[int, int]]) -> None:
    """Refuse a part whose coordinates would be zeros in every clip."""
    for part, reference in zip(layout.parts, references, strict=True):
        first, second = {part.origin, part.anchor}, set(reference)
        if len(first) < 2 or (layout.num_axes == 3 and (len(second) < 2 or first == second)):
            first_ends, second_ends = ([layout.joints[joint] for joint in ends] for ends in ((part.origin, part.anchor), reference))
            raise LayoutError(
                f"part {part.name!r} of {layout.name!r} has no frame of reference, so its alien coordinates would all be zeros",
                expected="an origin and an anchor that are two joints, and in 3-D the ends of a second direction that are two others",
                got=f"from {' to '.join(first_ends)}, and from {' to '.join(second_ends)}",
                cure="other groups in the layout, a stream that is not fused, or another dp",
            )


def _length(vectors: Tensor) -> Tensor:
    return torch.linalg.vector_norm(vectors, dim=-1)


def _long_enough(length: Tensor, spanned: Tensor) -> Tensor:
    """Which bones are not short beside the longest known one of their frame."""
    longest = torch.where(spanned, length, 0).amax(dim=-1, keepdim=True)
    return length > SHORTEST_BONE * longest
