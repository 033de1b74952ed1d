"""The measures of a store's clips, against plain loops; and what is said of mirrored and upturned bodies."""

from pathlib import Path

import numpy as np
import pytest

from amanet.data.store import ClipStore
from amanet.data.strange import strangest, warnings
from amanet.data.survey import facing, survey
from amanet.data.synthetic import SyntheticName, watch
from amanet.skeleton import SkeletonClip, load_layout
from fabricate.stores import fabricate_clip, ntu_samples, ragged_clips, write_store

NTU25 = load_layout("ntu25")


def test_measures_are_those_of_plain_loops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = ragged_clips()
    clips[5].present[:, ::3] = False
    store = write_store(tmp_path / "store", [clip.with_joints(clip.joints) for clip in clips])
    whole = survey(store, 2)
    original = ClipStore.blocks
    monkeypatch.setattr(ClipStore, "blocks", lambda self: original(self, 5000))
    found = survey(store, 2)
    bones = np.array(NTU25.bones)
    for row in range(len(store)):
        clip = store.clip(row)
        seen = np.asarray(clip.present.any(2))
        lengths = np.linalg.norm(clip.joints[:, :, bones[:, 0]] - clip.joints[:, :, bones[:, 1]], axis=-1)
        known = np.asarray(clip.present[:, :, bones].all(-1))
        steps = [
            float(np.linalg.norm(clip.joints[body, frame + 1, joint] - clip.joints[body, frame, joint]))
            for body, frame, joint in np.ndindex(clip.num_bodies, clip.num_frames - 1, 25)
            if clip.present[body, frame : frame + 2, joint].all()
        ]
        varied = [
            float(each.std() / each.mean())
            for body, bone in np.ndindex(clip.num_bodies, len(bones))
            if len(each := lengths[body, known[body, :, bone], bone]) >= 5
        ]
        np.testing.assert_allclose(found.missing[row], (~clip.present[seen]).mean(), atol=1e-9)
        np.testing.assert_allclose(found.briefest[row], seen.mean(1).min())
        np.testing.assert_allclose(found.empty[row], (~seen.any(0)).mean(), atol=1e-9)
        np.testing.assert_allclose(found.jump[row], max(steps, default=0) / lengths[known].mean(), rtol=1e-5)
        np.testing.assert_allclose(found.unsteady[row], max(varied, default=0), rtol=1e-4)
    for name, value in vars(whole).items():
        np.testing.assert_allclose(value, getattr(found, name), err_msg=name)


def people(folder: Path, *, mirrored: bool = False, upturned: bool = False) -> ClipStore:
    """A store of synthetic people, as recorded: y up."""
    clips = []
    for sample in ntu_samples(performers=range(1, 9), actions=(8, 9, 24)):
        recording = watch(SyntheticName(setup=1, camera=2, performer=int(sample[9:12]), replication=1, action=int(sample[-3:])), 0)
        present = np.repeat(recording.present[..., None], 25, axis=2)
        joints = recording.joints * np.array([-1 if mirrored else 1, -1 if upturned else 1, 1], dtype=np.float32)
        clips.append(SkeletonClip(sample, np.where(present[..., None], joints, np.float32(0)), present, int(sample[-3:]) - 1))
    return write_store(folder, clips)


def test_mirrored_clips_are_warned_of_and_left_alone(tmp_path: Path) -> None:
    assert warnings(survey(people(tmp_path / "good"), 1)) == []
    store = people(tmp_path / "mirrored", mirrored=True)
    before = (store.path / "joints.npy").read_bytes()
    (warned,) = warnings(survey(store, 1))
    assert "exchanged, or an axis to be mirrored" in warned
    assert (store.path / "joints.npy").read_bytes() == before


def test_upturned_clips_are_warned_of(tmp_path: Path) -> None:
    assert any("on their heads" in text for text in warnings(survey(people(tmp_path / "upturned", upturned=True), 1)))


def test_real_clips_are_not_mirrored(shared: Path) -> None:
    from amanet.data.formats.ntu import read_skeleton

    told = []
    for path in sorted((shared / "data/ntu/raw").glob("*.skeleton")):
        clip = read_skeleton(path.read_bytes(), path).by_body_id()
        told.append(np.nanmean(facing(clip.joints[0][clip.present[0].any(1)], NTU25)))
    assert min(told) > 0.2


def test_a_few_clips_prove_nothing(tmp_path: Path) -> None:
    clips = [clip for clip in ragged_clips() if clip.num_bodies == 1]
    assert len(clips) < 20
    assert not any("mirrored" in text for text in warnings(survey(write_store(tmp_path / "few", clips), 2)))


def test_the_strangest_clips_are_those_made_strange(tmp_path: Path) -> None:
    names = ntu_samples(performers=range(1, 8), actions=(1,))
    plain = [fabricate_clip(name, frames=20) for name in names]
    clips = [SkeletonClip(clip.sample, np.repeat(clip.joints[:, :1], 20, 1), clip.present, clip.label) for clip in plain]
    clips[0] = SkeletonClip(names[0], np.repeat(clips[0].joints, 2, 1), np.repeat(clips[0].present, 2, 1), 0)
    clips[1] = SkeletonClip(names[1], clips[1].joints[:, :3], clips[1].present[:, :3], 0)
    clips[2].present[0, 5:, 7] = False
    clips[3].joints[0, 11:, 3] += 50
    clips[4] = SkeletonClip(names[4], np.repeat(clips[4].joints, 2, 0), np.repeat(clips[4].present, 2, 0), 0)
    clips[4].present[1, 4:] = False
    clips[5].joints[0, ::2, 15] += 1
    clips[6] = clips[6].with_joints(1000 * clips[6].joints)
    store = write_store(tmp_path / "store", [clip.with_joints(clip.joints) for clip in clips])
    found = {each.kind: each for each in strangest(store, survey(store, 2))}
    assert {kind: names.index(each.sample) for kind, each in found.items() if kind != "unsteady"} == {
        "longest": 0,
        "shortest": 1,
        "missing": 2,
        "jump": 3,
        "bodies": 4,
        "ghost": 4,
        "size": 6,
    }
    assert "most of all the hand left, absent in 75%" in found["missing"].why
    assert "from frame 11 to 12 the head moves" in found["jump"].why
    assert found["jump"].span == (7, 15)
    assert "20% of the frames" in found["ghost"].why
    assert "one unit" in found["size"].why
    assert len(strangest(store, survey(store, 2), clips=0)) == 0


def test_clips_that_show_nobody_or_no_bone_are_called_what_they_are(tmp_path: Path) -> None:
    names = ntu_samples(performers=range(1, 5), actions=(1,))
    clips = [fabricate_clip(name, frames=20, bodies=1 + number // 2) for number, name in enumerate(names)]
    clips[0].present[0, 4:] = False  # its only body: no ghost, but an empty clip
    clips[1].present[0, :, 1:] = False  # joints without bones, which move
    clips[1].joints[0, 10:, 0] += 10
    clips[2].present[0, ::2] = clips[2].present[1, 1::2] = False  # two bodies in turn: no frame is empty
    clips[3].present[1, :3] = False
    store = write_store(tmp_path / "store", [clip.with_joints(clip.joints) for clip in clips])
    found = survey(store, 2)
    np.testing.assert_allclose(found.empty, [0.8, 0, 0, 0])
    assert found.jump[1] == 0
    strange = strangest(store, found, clips=4)
    assert [each.sample for each in strange if each.kind == "ghost"] == [names[2], names[3]]
    (empty,) = (each for each in strange if each.kind == "empty")
    assert (empty.sample, empty.why) == (names[0], "Mostly empty: 80% of its 20 frames show nobody.")
