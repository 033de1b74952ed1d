"""Skeleton layouts: which joints a body has, how they hang together, and what the network and the pictures need to know of them.

A layout is a small TOML file. The ones that ship are files of the same kind, in ``amanet/skeleton/layouts``; copy one to describe
a skeleton of your own and pass its path wherever a layout name is taken.
"""

import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

from amanet.errors import LayoutError, first_of

Coordinates = Literal["xyz", "xy-score"]
LAYOUT_FOLDER = Path(__file__).parent / "layouts"


@dataclass(frozen=True)
class BodyPart:
    """One of the parts of alien relative coordinates (Alg. 1), all joints as indices.

    ``origin`` hardly moves relative to the body's centre and becomes 0 of the part's own frame of reference; ``anchor`` is the other
    end of a bone at the root of the limb and becomes (s, 0, 0).
    """

    name: str
    joints: tuple[int, ...]
    origin: int
    anchor: int


@dataclass(frozen=True)
class JointGroup:
    """Neighbouring joints whose barycentre is one joint of the fused scale."""

    name: str
    joints: tuple[int, ...]


@dataclass(frozen=True)
class SkeletonLayout:
    """The joints of a body and their relations, all by index into ``joints``.

    Attributes:
        name: how stores, runs and error messages call it.
        coordinates: ``xyz``, or ``xy-score`` for 2-D joints with a confidence.
        joints: one name a joint.
        parents: the next joint towards the root; the root is its own parent.
        centre: the joint that general relative coordinates refer to (``m`` of Eq. 5).
        mirror: the joint on the other side of the body; joints on the axis mirror themselves.
        across: left shoulder and right shoulder.
        up: two joints of the trunk, the lower one first.
        parts: those of alien relative coordinates.
        groups: the joints of the fused scale.
    """

    name: str
    coordinates: Coordinates
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    centre: int
    mirror: tuple[int, ...]
    across: tuple[int, int]
    up: tuple[int, int]
    parts: tuple[BodyPart, ...]
    groups: tuple[JointGroup, ...]

    def __post_init__(self) -> None:
        _check_indices(self)
        _check_tree(self)
        _check_mirror(self)
        _check_parts(self)
        _check_groups(self)

    @property
    def num_joints(self) -> int:
        return len(self.joints)

    @property
    def num_coords(self) -> int:
        """Numbers stored for a joint: x y z, or x y score."""
        return 3

    @property
    def num_axes(self) -> int:
        """Coordinates that are places: 3, or 2 where the third number is a confidence."""
        return 3 if self.coordinates == "xyz" else 2

    @property
    def root(self) -> int:
        return next(joint for joint, parent in enumerate(self.parents) if joint == parent)

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """(joint, parent) of every joint but the root."""
        return tuple((joint, parent) for joint, parent in enumerate(self.parents) if joint != parent)


def load_layout(name: str | Path) -> SkeletonLayout:
    """The layout of that name among the shipped ones, or the one in the TOML file at that path.

    Raises:
        LayoutError: no such layout, or the file contradicts itself; the message names the file and the field.
    """
    path = Path(name) if str(name).endswith(".toml") else LAYOUT_FOLDER / f"{name}.toml"
    if not path.is_file():
        raise LayoutError(
            f"there is no layout {str(name)!r}",
            expected=f"one of {', '.join(layout_names())}, or the path of a .toml file",
            cure="copy a file of amanet/skeleton/layouts and describe your skeleton in it (docs/data.md)",
        )
    return _read_shipped(path) if path.parent == LAYOUT_FOLDER else _read_layout(path.resolve())


def layout_names() -> tuple[str, ...]:
    """Names of the layouts that ship with the library."""
    return tuple(sorted(path.stem for path in LAYOUT_FOLDER.glob("*.toml")))


def _read_layout(path: Path) -> SkeletonLayout:
    try:
        layout = parse_layout(tomllib.loads(path.read_text(encoding="utf-8-sig")))
        _check_bones(layout)
        return layout
    except UnicodeDecodeError as error:
        raise LayoutError(f"this is not a TOML file: {error}", where=path, expected="text in UTF-8", cure="save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise LayoutError(f"this is not a TOML file: {error}", where=path) from error
    except LayoutError as error:
        error.where = str(path)
        raise


_read_shipped = cache(_read_layout)
"""Of files that nobody edits."""


def parse_layout(fields: dict[str, Any]) -> SkeletonLayout:
    """A layout from the tables of its TOML file, where joints are written by name.

    Raises:
        LayoutError: a field is missing, unknown, or names a joint that does not exist.
    """
    needed = {"name", "coordinates", "centre", "across", "up", "joints", "mirror", "parts", "groups"}
    if fields.keys() != needed:
        missing, unknown = sorted(needed - fields.keys()), sorted(fields.keys() - needed)
        got = [f"{how}: {', '.join(names)}" for how, names in (("missing", missing), ("unknown", unknown)) if names]
        raise LayoutError("the fields of the layout are not the ones a layout has", expected=", ".join(sorted(needed)), got="; ".join(got))
    _check_kinds(fields)
    names: tuple[str, ...] = tuple(fields["joints"])
    index = {joint: i for i, joint in enumerate(names)}

    def joint(name: str, field: str) -> int:
        if name not in index:
            raise LayoutError(f"field {field!r} names a joint that is not in [joints]", expected=f"one of {', '.join(names)}", got=name)
        return index[name]

    def joints(members: list[str], field: str) -> tuple[int, ...]:
        return tuple(joint(member, field) for member in members)

    mirror = list(range(len(names)))
    for pair in fields["mirror"]:
        left, right = joints(pair, "mirror")
        mirror[left], mirror[right] = right, left
    lower, upper = joints(fields["up"], "up")
    left, right = joints(fields["across"], "across")
    return SkeletonLayout(
        name=fields["name"],
        coordinates=fields["coordinates"],
        joints=names,
        parents=tuple(joint(parent, "joints") for parent in fields["joints"].values()),
        centre=joint(fields["centre"], "centre"),
        mirror=tuple(mirror),
        across=(left, right),
        up=(lower, upper),
        parts=tuple(
            BodyPart(name, joints(part["joints"], "parts"), joint(part["origin"], "parts"), joint(part["anchor"], "parts"))
            for name, part in fields["parts"].items()
        ),
        groups=tuple(JointGroup(name, joints(members, "groups")) for name, members in fields["groups"].items()),
    )


def describe_layout(layout: SkeletonLayout) -> dict[str, Any]:
    """The tables of a TOML file with this layout; :func:`parse_layout` gives it back."""
    joints = layout.joints
    return {
        "name": layout.name,
        "coordinates": layout.coordinates,
        "centre": joints[layout.centre],
        "across": [joints[joint] for joint in layout.across],
        "up": [joints[joint] for joint in layout.up],
        "mirror": [[joints[joint], joints[other]] for joint, other in enumerate(layout.mirror) if joint < other],
        "joints": {joint: joints[parent] for joint, parent in zip(joints, layout.parents, strict=True)},
        "parts": {
            part.name: {
                "joints": [joints[joint] for joint in part.joints],
                "origin": joints[part.origin],
                "anchor": joints[part.anchor],
            }
            for part in layout.parts
        },
        "groups": {group.name: [joints[joint] for joint in group.joints] for group in layout.groups},
    }


def _check_kinds(fields: dict[str, Any]) -> None:
    """Refuse a field whose value is of another kind than the TOML files that ship have there."""

    def names(value: object, count: int | None = None) -> bool:
        return isinstance(value, list) and all(isinstance(each, str) for each in value) and count in (None, len(value))

    def part(value: object) -> bool:
        return isinstance(value, dict) and value.keys() == {"joints", "origin", "anchor"} and names([value["origin"], value["anchor"]])

    kinds: dict[str, tuple[Callable[[Any], bool], str]] = {
        **dict.fromkeys(("name", "centre"), (lambda value: isinstance(value, str), "a text")),
        "coordinates": (lambda value: value in get_args(Coordinates), " or ".join(get_args(Coordinates))),
        **dict.fromkeys(("across", "up"), (lambda value: names(value, 2) and len(set(value)) == 2, "two different joints")),
        "mirror": (lambda value: isinstance(value, list) and all(names(pair, 2) for pair in value), "pairs of joints"),
        "joints": (lambda value: isinstance(value, dict) and names(list(value.values())), "a table of lines joint = parent"),
        "parts": (
            lambda value: isinstance(value, dict) and all(part(each) and names(each["joints"]) for each in value.values()),
            "a table of parts, each with joints, origin and anchor",
        ),
        "groups": (lambda value: isinstance(value, dict) and all(names(each) for each in value.values()), "a table of lists of joints"),
    }
    for field, (fits, expected) in kinds.items():
        if not fits(fields[field]):
            raise LayoutError(f"field {field!r} is not what it should be", expected=expected, got=fields[field])


def _check_indices(layout: SkeletonLayout) -> None:
    members = [joint for held in (*layout.parts, *layout.groups) for joint in held.joints]
    ends = [end for part in layout.parts for end in (part.origin, part.anchor)]
    used = {layout.centre, *layout.parents, *layout.mirror, *layout.across, *layout.up, *members, *ends}
    if not used <= set(range(layout.num_joints)) or len(layout.mirror) != layout.num_joints:
        raise LayoutError("a number does not stand for a joint", expected=f"0 to {layout.num_joints - 1}", got=sorted(used))


def _check_tree(layout: SkeletonLayout) -> None:
    if len(layout.parents) != layout.num_joints:
        raise LayoutError("joints and parents differ in number", expected=layout.num_joints, got=len(layout.parents))
    roots = [layout.joints[joint] for joint, parent in enumerate(layout.parents) if joint == parent]
    if len(roots) != 1:
        raise LayoutError("a skeleton has one root, the joint that is its own parent", expected="1 root", got=roots or "none")
    for start in range(layout.num_joints):
        joint = start
        for _ in range(layout.num_joints):
            joint = layout.parents[joint]
        if joint != layout.root:
            raise LayoutError(f"joint {layout.joints[start]!r} does not lead to the root: its parents run in a circle")


def _check_mirror(layout: SkeletonLayout) -> None:
    for joint, other in enumerate(layout.mirror):
        if layout.mirror[other] != joint:
            raise LayoutError(f"joint {layout.joints[joint]!r} stands in more than one mirror pair")


def _check_parts(layout: SkeletonLayout) -> None:
    _check_every_joint_once(layout, "parts", [joint for part in layout.parts for joint in part.joints])


def _check_every_joint_once(layout: SkeletonLayout, field: str, members: Sequence[int]) -> None:
    counts = Counter(members)
    missing = [name for joint, name in enumerate(layout.joints) if not counts[joint]]
    again = [name for joint, name in enumerate(layout.joints) if counts[joint] > 1]
    if missing or again:
        got = [f"{first_of(names)} {how}" for names, how in ((missing, "in none"), (again, "more than once")) if names]
        raise LayoutError(f"the {field} do not hold every joint exactly once", expected=f"{layout.num_joints} joints", got="; ".join(got))


def _check_bones(layout: SkeletonLayout) -> None:
    """Of a layout that somebody wrote; groups of fused joints may hold both ends of a part's bone."""
    for part in layout.parts:
        if part.origin == part.anchor:
            got = f"{layout.joints[part.origin]!r} for both"
            raise LayoutError(f"part {part.name!r} has no direction", expected="an origin and an anchor that are two joints", got=got)
        field, reference = ("across", layout.across) if layout.root in part.joints else ("up", layout.up)
        if layout.coordinates == "xyz" and {part.origin, part.anchor} == set(reference):
            raise LayoutError(
                f"part {part.name!r} has one direction, and needs two",
                expected=f"an origin and an anchor that are not the two joints of {field!r}, its second direction",
                got=[layout.joints[joint] for joint in reference],
            )


def _check_groups(layout: SkeletonLayout) -> None:
    _check_every_joint_once(layout, "groups", [joint for group in layout.groups for joint in group.joints])
    sets = {frozenset(group.joints) for group in layout.groups}
    for group in layout.groups:
        tops = [joint for joint in group.joints if joint == layout.root or layout.parents[joint] not in group.joints]
        if len(tops) != 1:
            raise LayoutError(
                f"the joints of group {group.name!r} do not hang together", got=[layout.joints[joint] for joint in group.joints]
            )
        if frozenset(layout.mirror[joint] for joint in group.joints) not in sets:
            raise LayoutError(f"group {group.name!r} has no group on the other side of the body", expected="groups that mirror each other")
