"""People acting: their bodies, what they do, what the sensor makes of it, and the file it ends in."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float

from amanet.data.formats.ntu import read_skeleton
from amanet.data.published import get_dataset
from amanet.data.synthetic import ACTIONS, SyntheticName, get_action, play, skeleton_text, watch
from amanet.data.synthetic.body import CHANNELS, Proportions, mirrored, pose_joints
from amanet.data.synthetic.motion import channel_values, minimum_jerk
from amanet.data.synthetic.sensor import Camera, record
from amanet.errors import ExperimentError
from amanet.skeleton import load_layout

LAYOUT = load_layout("ntu25")
JOINT = {name: index for index, name in enumerate(LAYOUT.joints)}
names = st.builds(
    SyntheticName,
    setup=st.integers(1, 17),
    camera=st.integers(1, 3),
    performer=st.integers(1, 106),
    replication=st.integers(1, 2),
    action=st.sampled_from(tuple(ACTIONS)),
)


def bone_lengths(joints: Float[np.ndarray, "body frame joint 3"]) -> Float[np.ndarray, "body frame joint"]:
    return np.linalg.norm(joints - joints[:, :, list(LAYOUT.parents)], axis=-1)


def parse(content: bytes) -> list[list[tuple[list[str], Float[np.ndarray, "joint field"]]]]:
    """Frames of bodies of (header, joint fields), read as plainly as possible."""
    lines: Iterator[str] = iter(content.decode().split("\r\n"))
    frames = []
    for _ in range(int(next(lines))):
        bodies = []
        for _ in range(int(next(lines))):
            header = next(lines).split(" ")
            bodies.append((header, np.array([next(lines).split(" ") for _ in range(int(next(lines)))], dtype=float)))
        frames.append(bodies)
    assert list(lines) == [""]
    return frames


def test_actions_carry_the_numbers_and_names_of_the_data_set() -> None:
    class_names = get_dataset("ntu60").class_names
    assert len(ACTIONS) >= 12
    assert {number: action.name for number, action in ACTIONS.items()} == {number: class_names[number - 1] for number in ACTIONS}
    assert all(action.num_bodies == (2 if number >= 50 else 1) for number, action in ACTIONS.items())


def test_an_unknown_action_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ExperimentError, match="no synthetic action 2") as caught:
        get_action(2)
    assert "1 (drink water)" in str(caught.value)
    assert "60 (walking apart from each other)" in str(caught.value)


@settings(deadline=None, max_examples=25)
@given(name=names, seed=st.integers(0, 3))
def test_bodies_keep_their_bones_and_stay_above_the_floor(name: SyntheticName, seed: int) -> None:
    places = play(name, seed)
    assert places.shape[0] == get_action(name.action).num_bodies
    assert 30 <= places.shape[1] <= 180
    rigid = [
        JOINT[bone]
        for bone in ("spine_base", "neck", "head", "elbow_left", "wrist_right", "hand_left", "knee_left", "ankle_right", "foot_left")
    ]
    lengths = bone_lengths(places)[:, :, rigid]
    np.testing.assert_allclose(lengths, np.broadcast_to(lengths[:, :1], lengths.shape), atol=1e-9)
    assert places[..., 1].min() > -0.06
    assert np.abs(np.diff(places, axis=1)).max() < 0.6  # nothing jumps: the hand of a fast throw moves half a metre a frame


@settings(deadline=None, max_examples=15)
@given(name=names)
def test_the_file_says_what_the_sensor_saw(name: SyntheticName) -> None:
    recording = watch(name, seed=0)
    content = skeleton_text(recording)
    frames = parse(content)
    assert [len(bodies) for bodies in frames] == recording.present.sum(axis=0).tolist()
    for frame, bodies in enumerate(frames):
        for body, (header, fields) in zip(np.flatnonzero(recording.present[:, frame]), bodies, strict=True):
            assert len(header) == 10
            assert int(header[0]) == recording.body_id[body, frame]
            assert fields.shape == (25, 12)
            np.testing.assert_allclose(fields[:, :3], recording.joints[body, frame], rtol=1e-6)
            assert set(fields[:, 11]) <= {1.0, 2.0}
            sizes = np.linalg.norm(fields[:, 7:11], axis=1)
            assert np.flatnonzero(sizes < 0.5).tolist() == [3, 15, 19, 21, 22, 23, 24]
            np.testing.assert_allclose(sizes[sizes > 0], 1, atol=1e-5)
    read = read_skeleton(content, f"{name}.skeleton")
    assert read.num_frames == len(frames)
    first = np.flatnonzero(recording.present[:, read.frame[0]])[0]
    np.testing.assert_allclose(read.joints[0], recording.joints[first, read.frame[0]], rtol=1e-6)


def test_pixels_are_where_the_real_recorder_puts_them(shared: Path) -> None:
    content = (shared / "data/ntu/raw/S001C001P001R001A001.skeleton").read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    recorded = np.stack([bodies[0][1] for bodies in parse(content)])
    template = watch(SyntheticName(1, 1, 1, 1, 1), 0)
    frames = len(recorded)
    same = replace(
        template,
        joints=recorded[None, ..., :3].astype(np.float32),
        tracking=recorded[None, ..., 11].astype(np.int8),
        present=np.ones((1, frames), dtype=bool),
        body_id=np.full((1, frames), 7),
    )
    written = np.stack([bodies[0][1] for bodies in parse(skeleton_text(same))])
    error = np.median(np.abs(written[..., 3:7] - recorded[..., 3:7]), axis=(0, 1))
    assert (error < [1, 1, 3, 6]).all()


def test_the_same_name_and_seed_give_the_same_bytes_in_any_order() -> None:
    some = [SyntheticName(1, camera, performer, 1, 58) for camera in (1, 2) for performer in (1, 2)]
    forward = [skeleton_text(watch(name, 5)) for name in some]
    backward = [skeleton_text(watch(name, 5)) for name in reversed(some)][::-1]
    assert forward == backward
    assert len(set(forward)) == len(some)
    assert skeleton_text(watch(some[0], 6)) != forward[0]


def test_cameras_watch_one_performance_from_either_side() -> None:
    name = SyntheticName(1, 1, 3, 1, 8)
    np.testing.assert_array_equal(play(name, 0), play(replace(name, camera=3), 0))
    front, side = (watch(replace(name, camera=camera), 0).joints[0, 0] for camera in (2, 3))
    width = [abs(joints[JOINT["shoulder_right"], 0] - joints[JOINT["shoulder_left"], 0]) for joints in (front, side)]
    assert width[0] > 2 * width[1]  # replication 1 faces camera 2
    assert front[JOINT["shoulder_right"], 0] > front[JOINT["shoulder_left"], 0]


def test_a_camera_keeps_distances_and_looks_along_z() -> None:
    places = play(SyntheticName(1, 1, 1, 1, 59), 0)
    seen = Camera.placed(3, np.random.default_rng(0)).see(places)
    np.testing.assert_allclose(bone_lengths(seen), bone_lengths(places), atol=1e-9)
    assert 1.5 < seen[..., 2].min() < seen[..., 2].max() < 6


def test_the_sensor_is_noisiest_at_the_ends_and_now_and_then_loses_a_body() -> None:
    places = np.tile(play(SyntheticName(1, 1, 1, 1, 50), 0)[:, :1], (1, 90, 1, 1))  # two people, both frozen
    camera = Camera.placed(1, np.random.default_rng(0))
    clips = [record(places, camera, np.random.default_rng(seed)) for seed in range(60)]
    jitter = np.median([np.abs(np.diff(clip.joints, n=2, axis=1)).mean(axis=(0, 1, 3)) for clip in clips], axis=0)
    assert jitter[JOINT["spine_mid"]] < 0.003 < jitter[JOINT["hand_left"]] < jitter[JOINT["hand_tip_left"]] < 0.05
    guessed = np.mean([clip.tracking == 1 for clip in clips])
    assert 0.01 < guessed < 0.3
    assert sum(not clip.present.any(axis=0).all() for clip in clips) in range(2, 20)
    assert sum(not clip.present[:, -1].all() for clip in clips) in range(1, 20)
    back = [clip for clip in clips if len({number for body in clip.body_id for number in body}) == 3 and clip.present[:, -1].all()]
    assert all(len(set(np.concatenate([body[seen] for body, seen in zip(clip.body_id, clip.present, strict=True)]))) == 3 for clip in back)
    assert back


def test_performers_differ_in_body_and_manner() -> None:
    first, second = (play(SyntheticName(1, 1, performer, 1, 23), 0) for performer in (1, 2))
    assert np.abs(bone_lengths(first)[0, 0] - bone_lengths(second)[0, 0]).max() > 0.01
    again = play(SyntheticName(1, 1, 1, 2, 23), 0)
    np.testing.assert_allclose(bone_lengths(first)[0, 0, 5], bone_lengths(again)[0, 0, 5], atol=1e-9)
    assert first.shape != second.shape


def test_two_people_face_each_other() -> None:
    places = play(SyntheticName(1, 1, 1, 1, 58), 0)[:, 0]
    between = places[1, JOINT["spine_base"]] - places[0, JOINT["spine_base"]]
    right = places[:, JOINT["hip_right"]] - places[:, JOINT["hip_left"]]
    forward = np.stack([right[:, 2], np.zeros(2), -right[:, 0]], axis=-1)  # up x right
    assert forward[0] @ between > 0.9 * np.linalg.norm(forward[0]) * np.linalg.norm(between)
    assert forward[1] @ -between > 0.9 * np.linalg.norm(forward[1]) * np.linalg.norm(between)


@pytest.mark.parametrize(("action", "change"), [(59, -0.8), (60, 0.8)])
def test_walking_changes_the_distance(action: int, change: float) -> None:
    places = play(SyntheticName(1, 1, 2, 1, action), 0)[:, :, 0]
    apart = np.linalg.norm(places[0] - places[1], axis=-1)
    assert (apart[-1] - apart[0]) / change > 1


def still(**channels: float | tuple[float, float, float]) -> Float[np.ndarray, "joint 3"]:
    """Somebody average in a pose, facing -z."""
    hang = {"hand": (0.16, -0.95, 0.08), "other_hand": (0.16, -0.95, 0.08)}
    return pose_joints(Proportions(), channel_values(0.0, **(hang | channels))[None], np.zeros((1, 3)), np.zeros(1))[0]


def test_right_is_right_and_joints_bend_the_right_way() -> None:
    seated = still(drop=0.42, advance=-0.36)
    assert seated[JOINT["shoulder_right"], 0] > 0 > seated[JOINT["shoulder_left"], 0]
    assert seated[JOINT["knee_left"], 2] < seated[JOINT["hip_left"], 2] - 0.2  # knees come forward
    reaching = still(hand=(0.0, -0.2, 0.5))
    elbow, line = reaching[JOINT["elbow_right"]], (reaching[JOINT["shoulder_right"]] + reaching[JOINT["wrist_right"]]) / 2
    assert elbow[1] < line[1]  # elbows hang
    assert reaching[JOINT["wrist_right"], 2] < reaching[JOINT["wrist_left"], 2] - 0.15
    assert still(lean=45.0)[JOINT["head"], 2] < still()[JOINT["head"], 2] - 0.2
    assert still(bend=20.0)[JOINT["head"], 0] > 0.05
    assert still(twist=30.0)[JOINT["shoulder_right"], 2] < 0 < still(twist=30.0)[JOINT["shoulder_left"], 2]


def test_the_hand_goes_where_it_is_sent() -> None:
    joints, body = still(hand=(0.3, 0.2, 0.4)), Proportions()
    reach = (joints[JOINT["wrist_right"]] - joints[JOINT["shoulder_right"]]) / body.arm
    np.testing.assert_allclose(reach, [0.3, 0.2, -0.4], atol=1e-9)


@given(seed=st.integers(0, 99))
def test_the_other_hand_does_the_mirror_image(seed: int) -> None:
    poses = np.random.default_rng(seed).normal(0, 0.3, (4, len(CHANNELS)))
    root, heading = np.zeros((4, 3)), np.zeros(4)
    right, left = pose_joints(Proportions(), poses, root, heading), pose_joints(Proportions(), mirrored(poses), root, heading)
    np.testing.assert_allclose(left[:, list(LAYOUT.mirror)] * [-1, 1, 1], right, atol=1e-9)


def test_minimum_jerk_starts_and_ends_still() -> None:
    share = np.linspace(0, 1, 101)
    way = minimum_jerk(share)
    assert way[0] == 0
    assert way[-1] == pytest.approx(1)
    assert (np.diff(way) >= 0).all()
    assert np.diff(way)[[0, -1]].max() < 1e-4
