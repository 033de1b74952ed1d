"""Skeleton layouts: the ones that ship, ones of the user's own, and every way in which a file can contradict itself."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from amanet.errors import LayoutError
from amanet.model import BlockConfig, Network, NetworkConfig
from amanet.skeleton import STREAMS, BodyPart, JointGroup, SkeletonLayout, Stream, layout_names, load_layout
from amanet.skeleton.layout import LAYOUT_FOLDER, describe_layout, parse_layout

NTU_EDGES = (
    *((1, 2), (2, 21), (3, 21), (4, 3), (5, 21), (6, 5), (7, 6), (8, 7), (9, 21), (10, 9), (11, 10), (12, 11), (13, 1), (14, 13)),
    *((15, 14), (16, 15), (17, 1), (18, 17), (19, 18), (20, 19), (22, 23), (23, 8), (24, 25), (25, 12)),
)
"""(joint, parent) of NTU RGB+D as ST-GCN and MS-G3D publish it, counted from 1."""

SHIPPED = (
    ("coco17", 17, 0),
    ("kinect20", 20, 1),
    ("kinetics18", 18, 1),
    ("mediapipe33", 33, 0),
    ("ntu25", 25, 1),
    ("openpose25", 25, 1),
    ("sbu15", 15, 2),
)
"""Name, joints and centre of the layouts that ship."""

STICK = """
name = "stick"
coordinates = "xyz"
centre = "hip"
across = ["hand_left", "hand_right"]
up = ["hip", "chest"]
mirror = [["hand_left", "hand_right"]]

[joints]
hip = "hip"
chest = "hip"
hand_left = "chest"
hand_right = "chest"
head = "chest"
foot = "hip"

[parts]
trunk = { joints = ["hip", "chest"], origin = "hip", anchor = "chest" }
left_arm = { joints = ["hand_left"], origin = "hand_left", anchor = "chest" }
right_arm = { joints = ["hand_right"], origin = "hand_right", anchor = "chest" }
head = { joints = ["head"], origin = "head", anchor = "chest" }
leg = { joints = ["foot"], origin = "foot", anchor = "hip" }

[groups]
trunk = ["hip", "chest"]
left = ["hand_left"]
right = ["hand_right"]
head = ["head"]
foot = ["foot"]
"""
"""A skeleton of six joints, as a user would describe it."""


def stick_file(folder: Path, text: str = STICK) -> Path:
    path = folder / "stick.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(("name", "num_joints", "centre"), SHIPPED)
def test_shipped_layouts(name: str, num_joints: int, centre: int) -> None:
    layout = load_layout(name)
    assert layout.name == name
    assert layout.num_joints == num_joints == len(layout.parents) == len(layout.mirror)
    assert len(layout.bones) == num_joints - 1
    assert layout.centre == centre
    assert [part.name for part in layout.parts] == ["trunk", "left_arm", "right_arm", "left_leg", "right_leg"]
    assert all(part.origin in part.joints and part.origin != part.anchor for part in layout.parts)


def test_every_file_that_ships_is_a_layout() -> None:
    assert layout_names() == tuple(name for name, *_ in SHIPPED)
    assert all(load_layout(name).name == name for name in layout_names())
    assert all(parse_layout(describe_layout(load_layout(name))) == load_layout(name) for name in layout_names())


def test_ntu_bones_are_the_published_ones() -> None:
    layout = load_layout("ntu25")
    assert sorted(layout.bones) == sorted((joint - 1, parent - 1) for joint, parent in NTU_EDGES)
    assert layout.root == 20
    assert layout.joints[layout.root] == "spine_shoulder"


def test_only_places_are_axes() -> None:
    assert (load_layout("ntu25").num_coords, load_layout("ntu25").num_axes) == (3, 3)
    assert (load_layout("kinetics18").num_coords, load_layout("kinetics18").num_axes) == (3, 2)


@pytest.mark.parametrize("name", layout_names())
def test_the_left_half_is_built_as_the_right_one(name: str) -> None:
    layout = load_layout(name)
    for joint, parent in enumerate(layout.parents):
        assert layout.mirror[parent] == layout.parents[layout.mirror[joint]]
        assert layout.mirror[layout.mirror[joint]] == joint
        swapped = layout.joints[joint].replace("left", "RIGHT").replace("right", "left").replace("RIGHT", "right")
        assert layout.joints[layout.mirror[joint]] == swapped
    assert layout.mirror[layout.across[0]] == layout.across[1]
    assert "left" in layout.joints[layout.across[0]]
    parts = {part.name: part for part in layout.parts}
    for limb in ("arm", "leg"):
        left, right = parts[f"left_{limb}"], parts[f"right_{limb}"]
        assert {layout.mirror[joint] for joint in left.joints} == set(right.joints)
        assert (layout.mirror[left.origin], layout.mirror[left.anchor]) == (right.origin, right.anchor)


def test_a_file_of_ones_own_is_read(tmp_path: Path) -> None:
    layout = load_layout(stick_file(tmp_path))
    assert layout.joints == ("hip", "chest", "hand_left", "hand_right", "head", "foot")
    assert layout.parents == (0, 0, 1, 1, 1, 0)
    assert layout.mirror == (0, 1, 3, 2, 4, 5)
    assert (layout.centre, layout.across, layout.up, layout.root) == (0, (2, 3), (0, 1), 0)
    assert layout.parts[1] == BodyPart("left_arm", (2,), 2, 1)
    assert layout.groups[0] == JointGroup("trunk", (0, 1))
    assert load_layout(str(tmp_path / "stick.toml")) == layout


def test_a_file_that_was_edited_is_read_again(tmp_path: Path) -> None:
    old = load_layout(stick_file(tmp_path))
    new = load_layout(stick_file(tmp_path, STICK.replace('centre = "hip"', 'centre = "chest"')))
    assert (old.centre, new.centre) == (0, 1)
    assert load_layout("ntu25") is load_layout("ntu25")


@pytest.mark.parametrize("stream", STREAMS)
def test_a_network_works_on_a_skeleton_of_ones_own(tmp_path: Path, stream: Stream) -> None:
    network = Network(NetworkConfig(width=6, block=BlockConfig(windows=(3,))), load_layout(stick_file(tmp_path)), 4, 1, stream)
    logits = network(torch.randn(2, 1, 12, 6, 3))
    assert logits.shape == (2, 4)
    assert logits.isfinite().all()


def test_a_copy_of_a_shipped_file_is_that_layout(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes((LAYOUT_FOLDER / "ntu25.toml").read_bytes())
    assert load_layout(tmp_path / "mine.toml") == load_layout("ntu25")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('centre = "hip"', 'centre = "belly"', "'centre' names a joint that is not in"),
        ('head = "chest"', 'head = "neck"', "'joints' names a joint that is not in"),
        ('["hand_left", "hand_right"]]', '["hand_left", "hand"]]', "'mirror' names a joint that is not in"),
        ('up = ["hip", "chest"]', 'up = ["hip", "crown"]', "'up' names a joint that is not in"),
        ('across = ["hand_left",', 'across = ["hand",', "'across' names a joint that is not in"),
        ('origin = "head"', 'origin = "nose"', "'parts' names a joint that is not in"),
        ('anchor = "hip"', 'anchor = "foot"', "has no direction"),
        ('origin = "head", anchor = "chest"', 'origin = "chest", anchor = "hip"', "(?s)'head' has one direction.*of 'up'"),
        ('foot = ["foot"]', 'foot = ["toe"]', "'groups' names a joint that is not in"),
        ('foot = "hip"', 'foot = "foot"', "one root"),
        ('hip = "hip"', 'hip = "chest"', "one root"),
        ('hand_left = "chest"\nhand_right = "chest"', 'hand_left = "hand_right"\nhand_right = "hand_left"', "in a circle"),
        ('["hand_left", "hand_right"]]', '["hand_left", "hand_right"], ["hand_right", "foot"]]', "more than one mirror pair"),
        ('joints = ["hip", "chest"]', 'joints = ["hip"]', "(?s)parts do not hold every joint exactly once.*chest in none"),
        ('joints = ["foot"]', 'joints = ["foot", "hip"]', "(?s)parts do not hold every joint exactly once.*hip more than once"),
        ('trunk = ["hip", "chest"]', 'trunk = ["hip"]', "(?s)groups do not hold every joint exactly once.*chest in none"),
        ('head = ["head"]\nfoot = ["foot"]', 'ends = ["head", "foot"]', "do not hang together"),
        ('foot = ["foot"]', 'foot = ["foot"]\nnothing = []', "do not hang together"),
        ('trunk = ["hip", "chest"]\nleft = ["hand_left"]', 'trunk = ["hip", "chest", "hand_left"]', "other side of the body"),
        ('coordinates = "xyz"', 'coordinates = "polar"', "'coordinates' is not what it should be"),
        ('centre = "hip"\n', "", "(?s)fields of the layout are not.*missing: centre"),
        ('centre = "hip"\n', 'centre = "hip"\ncolour = "red"\n', "(?s)fields of the layout are not.*unknown: colour"),
        (', anchor = "hip" }', " }", "'parts' is not what it should be"),
        (', anchor = "hip" }', ', anchor = "hip", colour = "red" }', "'parts' is not what it should be"),
        ('name = "stick"', "name = 3", "'name' is not what it should be"),
        ('up = ["hip", "chest"]', 'up = ["hip"]', "'up' is not what it should be"),
        ('up = ["hip", "chest"]', 'up = ["hip", "hip"]', "'up' is not what it should be"),
        ('mirror = [["hand_left", "hand_right"]]', 'mirror = ["hand_left", "hand_right"]', "'mirror' is not what it should be"),
        ('hip = "hip"', "hip = 0", "'joints' is not what it should be"),
        ('foot = ["foot"]', 'foot = "foot"', "'groups' is not what it should be"),
        ('hip = "hip"', 'hip = "hip"\nhip = "hip"', "not a TOML file"),
        ("[parts]", "[parts", "not a TOML file"),
    ],
)
def test_what_contradicts_itself_is_refused_by_name(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in STICK
    path = stick_file(tmp_path, STICK.replace(old, new, 1))
    with pytest.raises(LayoutError, match=message) as caught:
        load_layout(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "stick.toml"
    path.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(LayoutError, match="not a TOML file"):
        load_layout(path)


@pytest.mark.parametrize("name", ["ntu26", "no/such/file.toml", ""])
def test_a_layout_that_there_is_not(name: str) -> None:
    with pytest.raises(LayoutError, match="there is no layout") as caught:
        load_layout(name)
    assert ", ".join(layout_names()) in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda layout: {"centre": 6},
        lambda layout: {"centre": -1},
        lambda layout: {"parents": (*layout.parents[:-1], 99)},
        lambda layout: {"parents": layout.parents[:-1]},
        lambda layout: {"mirror": layout.mirror[:-1]},
        lambda layout: {"parts": (replace(layout.parts[0], anchor=6), *layout.parts[1:])},
    ],
)
def test_numbers_that_are_no_joints_are_refused(tmp_path: Path, change: Callable[[SkeletonLayout], dict[str, Any]]) -> None:
    layout = load_layout(stick_file(tmp_path))
    with pytest.raises(LayoutError):
        replace(layout, **change(layout))
