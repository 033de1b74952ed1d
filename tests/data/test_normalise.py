"""Recipes: MS-G3D's is matched to the digit; ours does not depend on where the sensor stands, and keeps what it must not hide."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial.transform import Rotation

from amanet.data.formats.kinetics import read_kinetics
from amanet.data.formats.ntu import read_skeleton
from amanet.data.formats.sbu import read_skeleton_pos
from amanet.data.normalise import RECIPES, align, as_msg3d, as_stgcn, face, keep_raw
from amanet.data.padding import replay
from amanet.data.published import get_dataset
from amanet.errors import LayoutError
from amanet.skeleton import SkeletonClip, SkeletonLayout, load_layout
from fabricate.ntu import skeleton_file
from fabricate.raw import kinetics_document
from reference import msg3d_recipe, stgcn_recipe

NTU25 = load_layout("ntu25")
KINETICS18 = load_layout("kinetics18")
BASE, SPINE, LEFT_SHOULDER, RIGHT_SHOULDER, UPPER_SPINE = 0, 1, 4, 8, 20


def random_clip(present: np.ndarray, seed: int = 0) -> SkeletonClip:
    """Bodies that wander at random and are seen, whole, in some frames: ``present`` is (body, frame)."""
    rng = np.random.default_rng(seed)
    posture = rng.normal(size=(len(present), 1, 25, 3))
    walk = rng.normal(0, 0.1, (*present.shape, 25, 3)).cumsum(axis=1)
    return SkeletonClip("a", *masked(posture + walk + [0.0, 0.0, 3.0], present))


def masked(joints: np.ndarray, present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    seen = np.broadcast_to(present[..., None], joints.shape[:3]).copy()
    return np.where(seen[..., None], joints, 0).astype(np.float32), seen


def moved(clip: SkeletonClip, rotation: Rotation, shift: np.ndarray) -> SkeletonClip:
    """The clip as another sensor sees it."""
    return clip.with_joints((clip.joints @ rotation.as_matrix().T + shift).astype(np.float32))


def test_the_names_of_recipes_are_their_keys() -> None:
    assert list(RECIPES) == ["aligned", "facing", "msg3d", "stgcn", "raw"]
    assert all(name == recipe.name and recipe.description for name, recipe in RECIPES.items())


# MS-G3D's recipe


def test_msg3d_equals_the_framework_on_real_clips(shared: Path) -> None:
    golden = np.load(shared / "golden/ntu_prepared_msg3d.npz")
    for sample, expected in zip(golden["names"], golden["data"].transpose(0, 4, 2, 3, 1), strict=True):
        path = shared / f"data/ntu/raw/{sample}.skeleton"
        recording = read_skeleton(path.read_bytes(), path)
        clip = as_msg3d(recording.by_slot(), NTU25)
        assert clip.num_frames == recording.num_frames, "stored at its real length"
        clip = replay(clip, 300)
        np.testing.assert_allclose(clip.joints, expected[: clip.num_bodies], rtol=0, atol=1e-5)
        assert not expected[clip.num_bodies :].any()


PRESENCE = {
    "whole": [[1] * 12, [1] * 12],
    "one body": [[1] * 12],
    "one body with a gap": [[1, 1, 0, 0, 1, 1]],
    "late": [[1] * 12, [0, 0, 0, *[1] * 9]],
    "late with a gap": [[1] * 12, [0, 0, 1, 1, 0, 1] * 2],
    "main body late": [[0, 0, 0, *[1] * 9], [1] * 12],
    "both late alike": [[0, 0, 1, 1, 1], [0, 0, 1, 1, 1]],
    "early end": [[1] * 12, [*[1] * 7, *[0] * 5]],
    "both end early": [[*[1] * 7, *[0] * 5], [*[1] * 7, *[0] * 5]],
    "gap": [[1] * 12, [1, 1, 0, 1] * 3],
    "gap in both": [[1, 1, 0, 1] * 3, [1, 0, 1, 1] * 3],
    "four bodies": [[1] * 12, [*[1] * 3, *[0] * 9], [0, *[1] * 11], [0] * 6 + [1] * 6],
    "a body never seen": [[0] * 12, [1] * 12],
    "one frame": [[1]],
}


@pytest.mark.parametrize("name", PRESENCE)
@pytest.mark.parametrize("seed", range(3))
def test_msg3d_equals_its_description_where_bodies_come_and_go(name: str, seed: int) -> None:
    clip = random_clip(np.array(PRESENCE[name], dtype=bool), seed)
    expected = msg3d_recipe.prepare(clip.joints.astype(np.float64))
    stored = as_msg3d(clip, NTU25)
    result = replay(stored, 300)
    np.testing.assert_allclose(result.joints, expected[: result.num_bodies], rtol=0, atol=1e-5)
    assert not expected[result.num_bodies :].any()


@pytest.mark.parametrize("joint", [SPINE, LEFT_SHOULDER, RIGHT_SHOULDER])
@pytest.mark.parametrize("frame", [0, 2])
def test_msg3d_equals_its_description_where_a_joint_is_missing(frame: int, joint: int) -> None:
    clip = random_clip(np.ones((1, 5), dtype=bool))
    present = clip.present.copy()
    present[0, frame, joint] = False
    clip = clip.with_joints(clip.joints, present)
    expected = msg3d_recipe.prepare(clip.joints.astype(np.float64), max_bodies=1)
    np.testing.assert_allclose(replay(as_msg3d(clip, NTU25), 300).joints, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "frames"), [("whole", 12), ("early end", 300), ("late", 300), ("both end early", 7), ("both late alike", 3)]
)
def test_msg3d_stores_replayed_frames_only_where_it_must(name: str, frames: int) -> None:
    assert as_msg3d(random_clip(np.array(PRESENCE[name], dtype=bool)), NTU25).num_frames == frames


def test_msg3d_is_for_ntu_only() -> None:
    with pytest.raises(LayoutError, match="NTU RGB"):
        as_msg3d(random_clip(np.ones((1, 3), dtype=bool)), load_layout("kinect20"))


# ST-GCN's recipe


@given(st.lists(st.integers(0, 7), min_size=1, max_size=8), st.integers(0, 1000))
def test_stgcn_equals_its_description_with_any_number_of_people(numbers: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    frames = [rng.uniform(0.001, 1, (number, 18, 3)) * (rng.uniform(size=(number, 18, 1)) < 0.8) for number in numbers]
    frames[0] = rng.uniform(0.001, 1, (1, 18, 3))
    sums = [bodies[:, :, 2].round(3).sum(axis=1).round(3) for bodies in frames]
    assume(all(len(set(each)) == len(each) for each in sums))  # of people who are equally sure, rounding decides who comes first
    document = kinetics_document(frames, 0)
    clip = as_stgcn(read_kinetics(json.dumps(document).encode(), "a.json", get_dataset("kinetics").class_names), KINETICS18)
    expected = stgcn_recipe.prepare(document)
    np.testing.assert_allclose(clip.joints, expected[: clip.num_bodies], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(clip.present, expected[: clip.num_bodies, ..., 2] > 0)
    assert not expected[clip.num_bodies :].any()


def test_stgcn_is_for_joints_with_a_score_only() -> None:
    with pytest.raises(LayoutError, match="2-D joints with a score"):
        as_stgcn(random_clip(np.ones((1, 3), dtype=bool)), NTU25)


# Ours


@given(st.integers(0, 1000), arrays.arrays(np.float64, 3, elements=st.floats(-3, 3)), st.integers(0, 1000))
def test_aligned_does_not_depend_on_the_sensor(seed: int, shift: np.ndarray, turn: int) -> None:
    clip = random_clip(np.array([[1] * 8, [0, 1] * 4], dtype=bool), seed)
    elsewhere = moved(clip, Rotation.random(rng=np.random.default_rng(turn)), shift)
    np.testing.assert_allclose(align(elsewhere, NTU25).joints[0], align(clip, NTU25).joints[0], atol=2e-4)


@given(st.integers(0, 1000))
def test_aligned_stands_upright_and_faces_one_way(seed: int) -> None:
    clip = align(random_clip(np.ones((1, 5), dtype=bool), seed), NTU25)
    np.testing.assert_array_equal(clip.joints[0, 0, SPINE], 0)
    body = clip.joints[0].mean(axis=0)
    trunk, shoulders = body[UPPER_SPINE] - body[SPINE], body[LEFT_SHOULDER] - body[RIGHT_SHOULDER]
    np.testing.assert_allclose(trunk[:2], 0, atol=1e-5)
    np.testing.assert_allclose(shoulders[1], 0, atol=1e-5)
    assert trunk[2] > 0
    assert shoulders[0] > 0


def test_aligned_real_clips_stand_on_their_feet_and_are_not_mirrored(shared: Path) -> None:
    """Head up, feet down, the left shoulder at larger x, and toes before ankles, towards -y: a mirrored body has them behind."""
    for path in sorted((shared / "data/ntu/raw").glob("*.skeleton")):
        body = align(read_skeleton(path.read_bytes(), path).by_body_id(), NTU25).joints[0, 0]
        assert body[3, 2] > 0.3
        assert body[[15, 19], 2].max() < -0.5
        assert body[LEFT_SHOULDER, 0] - body[RIGHT_SHOULDER, 0] > 0.2
        assert (body[[15, 19], 1] - body[[14, 18], 1]).mean() < 0


def test_aligned_keeps_every_step_and_every_distance() -> None:
    clip = random_clip(np.ones((2, 20), dtype=bool))
    before, after = keep_raw(clip, NTU25).joints, align(clip, NTU25).joints
    steps = [np.linalg.norm(np.diff(joints, axis=1), axis=-1) for joints in (before, after)]
    np.testing.assert_allclose(*steps, atol=1e-5)
    distances = [np.linalg.norm(joints[0] - joints[1], axis=-1) for joints in (before, after)]
    np.testing.assert_allclose(*distances, atol=1e-5)


def test_a_body_that_comes_back_keeps_its_time() -> None:
    recording = read_skeleton(skeleton_file([[0], [], [1, 0], [1], [1, 0]]), "a.skeleton")
    clip = align(recording.by_body_id(), NTU25)
    seen = sorted(tuple(np.flatnonzero(body)) for body in clip.present[..., 0])
    assert seen == [(0, 2, 4), (2, 3, 4)]
    assert not clip.joints[~clip.present].any()


@given(st.integers(0, 1000), arrays.arrays(np.float64, 3, elements=st.floats(-3, 3)), st.integers(0, 1000))
def test_facing_depends_neither_on_the_sensor_nor_on_who_comes_first(seed: int, shift: np.ndarray, turn: int) -> None:
    clip = random_clip(np.array([[1] * 8, [0, 1] * 4], dtype=bool), seed)
    expected = face(clip, NTU25)
    elsewhere = moved(clip, Rotation.random(rng=np.random.default_rng(turn)), shift)
    for other in (elsewhere, elsewhere.with_joints(elsewhere.joints[::-1], elsewhere.present[::-1])):
        found = face(other, NTU25)
        np.testing.assert_array_equal(found.present, expected.present)
        np.testing.assert_allclose(found.joints[found.present], expected.joints[expected.present], atol=1e-3)


@given(st.integers(0, 1000))
def test_facing_people_see_each_other_straight_ahead(seed: int) -> None:
    """Each stands half their distance behind the origin, the trunks mean up, and a mirrored body would have changed its volume's sign."""
    before = random_clip(np.ones((2, 5), dtype=bool), seed)
    after = face(before, NTU25)
    first, second = after.joints[:, 0, SPINE]
    np.testing.assert_allclose(second, first * [1, 1, -1], atol=1e-4)
    np.testing.assert_allclose(first[0], 0, atol=1e-4)
    assert first[1] > 0
    chosen = RECIPES["raw"].apply(before, NTU25)
    apart = np.linalg.norm(chosen.joints[0, 0, SPINE] - chosen.joints[1, 0, SPINE])
    np.testing.assert_allclose(2 * np.linalg.norm(first), apart, atol=1e-4)
    trunks = after.joints[:, :, UPPER_SPINE] - after.joints[:, :, SPINE]
    in_one_frame = trunks.mean(axis=1) * [[1, 1, 1], [-1, -1, 1]]
    np.testing.assert_allclose(in_one_frame.sum(axis=0)[:2], 0, atol=1e-4)
    assert in_one_frame.sum(axis=0)[2] > 0
    for was, became in zip(chosen.joints, after.joints, strict=True):
        volumes = [np.linalg.det(places[0, [5, 10, 15]] - places[0, 0]) for places in (was, became)]
        np.testing.assert_allclose(*volumes, atol=1e-3)


def test_facing_real_people_look_at_each_other(shared: Path) -> None:
    """Not only their places but their bodies: in most of the clips both left shoulders are at larger x, as where a person faces -y."""
    layout = load_layout("sbu15")
    left, right = (layout.joints.index(f"shoulder_{side}") for side in ("left", "right"))
    paths = sorted((shared / "data/sbu").rglob("skeleton_pos.txt"))
    clips = [face(read_skeleton_pos(path.read_bytes(), path), layout) for path in paths]
    sideways = np.array([(clip.joints[:, :, left, 0] - clip.joints[:, :, right, 0]).mean(axis=1) for clip in clips])
    assert len(clips) == 282
    assert (sideways > 0).mean() > 0.9


def test_facing_without_a_partner_is_aligned() -> None:
    for present in (np.ones((1, 6), dtype=bool), np.array([[1] * 6, [0] * 6], dtype=bool)):
        clip = random_clip(present)
        np.testing.assert_array_equal(face(clip, NTU25).joints, align(clip, NTU25).joints)
    crowd = random_clip(np.ones((3, 6), dtype=bool))
    np.testing.assert_array_equal(face(crowd, NTU25, max_bodies=3).joints, align(crowd, NTU25, max_bodies=3).joints)


def test_facing_is_for_joints_in_space_only() -> None:
    clip = SkeletonClip("a", np.ones((2, 6, 18, 3), dtype=np.float32), np.ones((2, 6, 18), dtype=bool))
    with pytest.raises(LayoutError, match="use the recipe aligned"):
        face(clip, KINETICS18)


def waving(num_frames: int, seen: slice, *, size: float, noise: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A body whose arm goes up and down, with measurement noise."""
    rng = np.random.default_rng(seed)
    joints = np.repeat(np.random.default_rng(1).normal([0, 0, 3], 0.3, (1, 25, 3)), num_frames, axis=0)
    joints[:, [5, 6, 7], 1] += size * np.sin(np.arange(num_frames) / 4)[:, None]
    joints += rng.normal(0, noise, joints.shape)
    present = np.zeros(num_frames, dtype=bool)
    present[seen] = True
    return joints, present


def bodies(*some: tuple[np.ndarray, np.ndarray]) -> SkeletonClip:
    return SkeletonClip("a", *masked(np.stack([joints for joints, _ in some]), np.stack([present for _, present in some])))


@pytest.mark.parametrize("recipe", ["aligned", "raw"])
def test_the_main_body_is_the_one_that_moves(recipe: str) -> None:
    everywhere, briefly = slice(None), slice(10, 14)
    chair = waving(60, everywhere, size=0.0, noise=0.02, seed=2)
    chair[0][[20, 40], :, 0] += 5  # thrown off twice
    ghost = waving(60, briefly, size=3.0, seed=3)
    actor = waving(60, everywhere, size=0.4, noise=0.02, seed=4)
    clip = RECIPES[recipe].apply(bodies(chair, ghost, actor), NTU25)
    assert clip.num_bodies == 2
    np.testing.assert_allclose(np.ptp(clip.joints[0], axis=0).max(), 0.8, atol=0.1)


def test_fewer_bodies_can_be_asked_for() -> None:
    clip = random_clip(np.ones((4, 6), dtype=bool))
    assert [align(clip, NTU25, max_bodies=number).num_bodies for number in (1, 2, 3, 6)] == [1, 2, 3, 4]


def test_raw_leaves_places_alone() -> None:
    clip = random_clip(np.array([[1, 1, 0, 1]], dtype=bool))
    np.testing.assert_array_equal(keep_raw(clip, NTU25).joints, clip.joints)


def test_two_dimensional_clips_are_moved_only() -> None:
    rng = np.random.default_rng(0)
    clip = SkeletonClip("a", rng.uniform(0, 1, (1, 6, 18, 3)).astype(np.float32), np.ones((1, 6, 18), dtype=bool))
    result = align(clip, KINETICS18)
    np.testing.assert_array_equal(result.joints[..., 2], clip.joints[..., 2])
    np.testing.assert_array_equal(result.joints[..., :2], clip.joints[..., :2] - clip.joints[0, 0, KINETICS18.centre, :2])


@pytest.mark.parametrize("layout", [NTU25, KINETICS18])
def test_where_the_centre_is_never_seen_the_middle_of_the_first_frame_is_the_origin(layout: SkeletonLayout) -> None:
    rng = np.random.default_rng(0)
    present = rng.uniform(size=(1, 6, layout.num_joints)) < 0.5
    present[0, :2], present[..., layout.centre] = [[False], [True]], False
    joints = np.where(present[..., None], rng.uniform(1, 2, (*present.shape, 3)), 0).astype(np.float32)
    result = align(SkeletonClip("a", joints, present), layout)
    np.testing.assert_allclose(result.joints[0, 1, present[0, 1], : layout.num_axes].mean(axis=0), 0, atol=1e-6)


GRID = st.sampled_from([0.0, 1.0, -1.0, 0.5, 1e-7, 100.0])


@given(
    arrays.arrays(np.float32, (2, 3, 25, 3), elements=GRID),
    arrays.arrays(np.bool_, (2, 3, 25)),
    st.sampled_from(["aligned", "msg3d", "raw"]),
)
def test_no_posture_gives_numbers_that_are_not_finite(joints: np.ndarray, present: np.ndarray, name: str) -> None:
    """Joints that fall together, stand on their heads, or are not there: SkeletonClip itself refuses what is not finite."""
    present[0, 0, 3] = True
    clip = SkeletonClip("a", np.where(present[..., None], joints, 0), present)
    result = RECIPES[name].apply(clip, NTU25)
    assert np.abs(result.joints).max() < 1000


@pytest.mark.parametrize("upside", [1, -1])
def test_a_body_on_its_head_is_turned_over_once(upside: int) -> None:
    joints = np.zeros((1, 1, 25, 3), dtype=np.float32)
    joints[0, 0, UPPER_SPINE] = [0, 0, upside]
    joints[0, 0, LEFT_SHOULDER], joints[0, 0, RIGHT_SHOULDER] = [upside, 0, upside], [-upside, 0, upside]
    body = align(SkeletonClip("a", joints, np.ones((1, 1, 25), dtype=bool)), NTU25).joints[0, 0]
    np.testing.assert_allclose(body[[UPPER_SPINE, LEFT_SHOULDER, RIGHT_SHOULDER]], [[0, 0, 1], [1, 0, 1], [-1, 0, 1]], atol=1e-6)


@pytest.mark.parametrize("name", ["aligned", "raw"])
def test_a_clip_of_another_layout_is_refused(name: str) -> None:
    with pytest.raises(LayoutError, match="not of the layout kinect20"):
        RECIPES[name].apply(random_clip(np.ones((1, 3), dtype=bool)), load_layout("kinect20"))


# Padding


def test_replay_repeats_from_the_start() -> None:
    clip = random_clip(np.array([[1, 0, 1]], dtype=bool))
    result = replay(clip, 8)
    for frame in range(8):
        np.testing.assert_array_equal(result.joints[:, frame], clip.joints[:, frame % 3])
        np.testing.assert_array_equal(result.present[:, frame], clip.present[:, frame % 3])


@given(st.integers(1, 40), st.integers(1, 40))
def test_replay_of_a_longer_clip_samples_it_evenly(num_frames: int, wanted: int) -> None:
    clip = random_clip(np.ones((1, num_frames), dtype=bool))
    clip = clip.with_joints(clip.joints * 0 + np.arange(num_frames, dtype=np.float32)[:, None, None])
    frames = replay(clip, wanted).joints[0, :, 0, 0]
    assert len(frames) == wanted
    if num_frames >= wanted:
        assert frames[0] == 0
        assert wanted == 1 or frames[-1] == num_frames - 1
        steps = np.diff(frames)
        assert wanted == 1 or (steps.min() >= 1 and steps.max() - steps.min() <= 1)
