"""What pose estimators write comes out as the people that were there, upright, followed from frame to frame, and ready to prepare."""

import json
import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amanet.cli import main
from amanet.convert_poses import convert_poses
from amanet.data.formats.pose_json import COCO_JOINTS, PoseFormat, read_poses
from amanet.data.own.clip_file import read_own_clip
from amanet.data.own.dataset import OwnFolder
from amanet.errors import AmanetError, FormatError
from amanet.prepare import prepare
from amanet.skeleton import SkeletonClip, load_layout

LABELS = "clip,class,performer,split\nsit_1,sit,1,train\nsit_2,sit,2,test\nwave_1,wave,1,train\nwave_2,wave,2,test\n"
CLIPS = ("sit_1", "sit_2", "wave_1", "wave_2")


def people(sample: str, joints: int, numbers: int, frames: int = 6) -> np.ndarray:
    """Two people who walk beside each other, y downwards, score 0.9; (frame, person, joint, number)."""
    rng = np.random.default_rng(list(sample.encode()))
    pose = rng.uniform(-40, 40, (joints, numbers))
    found = np.stack([[pose + 3 * frame, pose + 300 - 2 * frame] for frame in range(frames)])
    found[..., -1] = 0.9
    found[2, :, 3] = 0
    return found


def write_openpose(folder: Path, sample: str, joints: int = 25) -> None:
    folder.mkdir(exist_ok=True)
    for frame, bodies in enumerate(people(sample, joints, 3)):
        order = bodies[::-1] if frame % 2 else bodies  # OpenPose lists people in any order
        content = {"version": 1.3, "people": [{"person_id": [-1], "pose_keypoints_2d": body.ravel().tolist()} for body in order]}
        (folder / f"{sample}_{frame:012}_keypoints.json").write_text(json.dumps(content))


def write_coco(folder: Path, sample: str) -> None:
    folder.mkdir(exist_ok=True)
    found = [
        {"image_id": f"frame_{frame + 1:04}.jpg", "track_id": 7 + body, "keypoints": numbers.ravel().tolist()}
        for frame, bodies in enumerate(people(sample, 17, 3))
        for body, numbers in enumerate(bodies)
    ]
    content: Any = found if sample.startswith("sit") else {"annotations": found, "images": []}
    (folder / f"{sample}.json").write_text(json.dumps(content))


def write_mmpose(folder: Path, sample: str) -> None:
    folder.mkdir(exist_ok=True)
    frames = [
        {
            "frame_id": frame + 1,
            "instances": [
                {"keypoints": body[:, :2].tolist(), "keypoint_scores": body[:, 2].tolist(), "bbox": [[0, 0, 9, 9]], "bbox_score": 0.9}
                | ({"track_id": number} if sample.startswith("sit") else {})
                for number, body in enumerate(bodies)
            ],
        }
        for frame, bodies in enumerate(people(sample, 17, 3))
    ]
    meta = {"dataset_name": "coco", "num_keypoints": 17, "keypoint_id2name": {str(joint): name for joint, name in enumerate(COCO_JOINTS)}}
    content: Any = {"meta_info": meta, "instance_info": frames} if sample.startswith("wave") else frames
    (folder / f"{sample}.json").write_text(json.dumps(content))


def write_ultralytics(folder: Path, sample: str) -> None:
    (folder / sample).mkdir(parents=True)
    for frame, bodies in enumerate(people(sample, 17, 3)):
        found = [
            {"name": "person", "class": 0, "confidence": 0.9, "box": {"x1": 0.0, "y1": 0.0, "x2": 9.0, "y2": 9.0}}
            | ({"track_id": number + 1} if sample.startswith("sit") else {})
            | {"keypoints": dict(zip(("x", "y", "visible"), body.T.tolist(), strict=True))}
            for number, body in enumerate(bodies)
        ]
        (folder / sample / f"video2_{frame + 8}.json").write_text(json.dumps(found))


def write_mediapipe(folder: Path, sample: str) -> None:
    folder.mkdir(exist_ok=True)
    names = ("x", "y", "z", "visibility")
    frames = [
        [[dict(zip(names, landmark, strict=True)) for landmark in body] for body in bodies] for bodies in people(sample, 33, 4).tolist()
    ]
    if sample.startswith("wave"):
        frames = [[{"landmark": body} for body in bodies] for bodies in frames]
    (folder / f"{sample}.json").write_text(json.dumps([None, *frames]))


WRITERS: dict[PoseFormat, Callable[[Path, str], None]] = {
    "openpose": write_openpose,
    "coco": write_coco,
    "mmpose": write_mmpose,
    "ultralytics": write_ultralytics,
    "mediapipe": write_mediapipe,
}
LAYOUTS = {"openpose": "openpose25", "coco": "coco17", "mmpose": "coco17", "ultralytics": "coco17", "mediapipe": "mediapipe33"}


def source(folder: Path, form: PoseFormat) -> Path:
    for sample in CLIPS:
        WRITERS[form](folder / "poses", sample)
    (folder / "labels.csv").write_text(LABELS)
    return folder / "poses"


def clip_of(folder: Path, sample: str, layout: str) -> SkeletonClip:
    path = folder / f"clips/{sample}.npy"
    return read_own_clip(path.read_bytes(), path, load_layout(layout))


@pytest.mark.parametrize("form", list(WRITERS))
def test_the_people_that_were_there_come_out(tmp_path: Path, form: PoseFormat) -> None:
    out = convert_poses(form, source(tmp_path, form), tmp_path / "out", labels=tmp_path / "labels.csv", max_bodies=2)
    layout = load_layout(LAYOUTS[form])
    found = clip_of(out, "wave_2", layout.name)
    seen = people("wave_2", layout.num_joints, 4 if form == "mediapipe" else 3).transpose(1, 0, 2, 3)
    if form == "mediapipe":
        assert not found.present[:, 0].any()
        found = SkeletonClip(found.sample, found.joints[:, 1:], found.present[:, 1:])
    np.testing.assert_array_equal(found.present, seen[..., -1] > 0)
    expected = seen[..., :3] * np.array([1, -1, -1 if form == "mediapipe" else 1])
    np.testing.assert_allclose(found.joints, expected * found.present[..., None], rtol=1e-6)


@pytest.mark.parametrize("form", list(WRITERS))
def test_the_folder_can_be_prepared(tmp_path: Path, form: PoseFormat) -> None:
    arguments = ["convert", form, source(tmp_path, form), tmp_path / "out", "--labels", tmp_path / "labels.csv", "--name", "mine"]
    assert main([str(argument) for argument in arguments]) == 0
    folder = OwnFolder.open(tmp_path / "out")
    assert (folder.dataset.name, folder.dataset.class_names, folder.dataset.max_bodies) == ("own:mine", ("sit", "wave"), 1)
    assert folder.splits == {"split": {"sit_1": "train", "sit_2": "test", "wave_1": "train", "wave_2": "test"}}
    if LAYOUTS[form] == "coco17":
        assert prepare("own", tmp_path / "out", tmp_path / "store", workers=1).layout.name == "coco17"


def test_a_short_clip_of_many_people_can_be_prepared(tmp_path: Path) -> None:
    """Of those that no reader would take for people, as they outnumber the frames, the ones in most frames are kept."""
    poses = source(tmp_path, "coco")
    pose = people("sit_1", 17, 3)[0, 0]
    crowd = [
        {"image_id": frame, "keypoints": (pose + np.array([900 * person, 3 * frame, 0])).ravel().tolist()}
        for frame in range(5)
        for person in range(7)
        if frame != person  # so the last two are those in most frames
    ]
    (poses / "sit_1.json").write_text(json.dumps(crowd))
    out = convert_poses("coco", poses, tmp_path / "out", labels=tmp_path / "labels.csv")
    assert len(prepare("own", out, tmp_path / "store", workers=1)) == 4
    numbers = np.load(out / "clips/sit_1.npy")
    assert np.isfinite(numbers[..., 0, 0]).sum(1).tolist() == [5, 5, 4, 4, 4]
    convert_poses("coco", poses, tmp_path / "all", labels=tmp_path / "labels.csv", max_bodies=2)
    assert len(np.load(tmp_path / "all/clips/sit_1.npy")) == 7


def test_the_older_model_of_openpose_is_kinetics18(tmp_path: Path) -> None:
    for sample in CLIPS:
        write_openpose(tmp_path / "poses", sample, joints=18)
    (tmp_path / "labels.csv").write_text(LABELS)
    convert_poses("openpose", tmp_path / "poses", tmp_path / "out", labels=tmp_path / "labels.csv")
    assert OwnFolder.open(tmp_path / "out").dataset.skeleton.name == "kinetics18"


def test_without_labels_the_clips_alone_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = convert_poses("coco", source(tmp_path, "coco"), tmp_path / f"new clips; {'of a long name' * 5}")
    command = capsys.readouterr().err.splitlines()[-1].partition("go on with: ")[2]
    assert shlex.split(command) == ["amanet", "predict", "RUN", str(out)]
    assert sorted(path.name for path in out.iterdir()) == [f"{sample}.npy" for sample in CLIPS]
    with_labels = convert_poses("coco", tmp_path / "poses", tmp_path / "all", labels=tmp_path / "labels.csv")
    assert (out / "sit_1.npy").read_bytes() == (with_labels / "clips/sit_1.npy").read_bytes()
    with pytest.raises(AmanetError, match="something already"):
        convert_poses("coco", tmp_path / "poses", out)


def test_a_clip_that_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    """So the same command can be given again once it is mended."""
    (tmp_path / "poses").mkdir()
    people = [{"image_id": frame, "keypoints": [1.0 + frame + number for number in range(51)]} for frame in range(3)]
    (tmp_path / "poses" / "a.json").write_text(json.dumps(people))
    (tmp_path / "poses" / "b.json").write_text("[3]")
    with pytest.raises(FormatError):
        convert_poses("coco", tmp_path / "poses", tmp_path / "clips")
    assert {path.name for path in tmp_path.iterdir()} == {"poses"}


def test_joints_of_a_low_score_were_not_seen(tmp_path: Path) -> None:
    with pytest.raises(AmanetError, match="no joint has a score"):
        convert_poses("coco", source(tmp_path, "coco"), tmp_path / "out", labels=tmp_path / "labels.csv", min_score=0.95)
    assert not (tmp_path / "out").exists()


def write_alphapose(path: Path, ids: Callable[[int], Any], frames: int = 9) -> np.ndarray:
    """Two people who walk through each other, listed in any order: (frame, person), x of their noses."""
    pose = people("a", 17, 3)[0, 0]
    pose[:, 2] = 0.9
    places = np.array([[100 * frame, 100 * (frames - 1 - frame)] for frame in range(frames)])
    found = [
        {
            "image_id": f"{frame}.jpg",
            "category_id": 1,
            "keypoints": (pose + np.array([places[frame, person], 0, 0])).ravel().tolist(),
            "score": 2.9,
        }
        | {"idx": ids(person)}
        for frame in range(frames)
        for person in ((0, 1), (1, 0))[frame % 2]
    ]
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(found))
    return pose[0, 0] + places


@pytest.mark.parametrize("ids", [lambda person: person + 1, lambda person: [person + 1.0], lambda person: [[person + 1.0]] * 2])
def test_who_crosses_somebody_stays_the_same_by_the_idx_of_alphapose(tmp_path: Path, ids: Callable[[int], Any]) -> None:
    noses = write_alphapose(tmp_path / "poses/a.json", ids)
    convert_poses("coco", tmp_path / "poses", tmp_path / "out")
    np.testing.assert_allclose(np.load(tmp_path / "out/a.npy")[:, :, 0, 0], noses.T, rtol=1e-6)


def test_an_idx_that_everybody_has_is_none(tmp_path: Path) -> None:
    """AlphaPose writes 0 where it does not track; the same twice in a frame among others is refused as any id is."""
    write_alphapose(tmp_path / "poses/a.json", lambda person: [[0.0], [0.0]] if person else [0.0])
    convert_poses("coco", tmp_path / "poses", tmp_path / "out", max_bodies=4)
    assert np.isfinite(np.load(tmp_path / "out/a.npy")).any((2, 3)).sum() == 18
    text = (tmp_path / "poses/a.json").read_text()
    (tmp_path / "poses/a.json").write_text(text.replace("[0.0]", "1", 1))
    with pytest.raises(AmanetError, match=r"a\.json: two people of one frame have the same id"):
        convert_poses("coco", tmp_path / "poses", tmp_path / "again")


def write_standing(path: Path, people: list[list[tuple[int, int]]]) -> None:
    """A file of COCO in which people stand: for each frame the id of each, -1 for none, and how many sizes of a body to the right."""
    pose = np.column_stack([np.linspace(10, 110, 17), np.linspace(10, 110, 17), np.full(17, 0.9)])
    found = [
        {"image_id": frame, "track_id": number, "keypoints": (pose + np.array([100 * place, 0, 0])).ravel().tolist()}
        for frame, standing in enumerate(people)
        for number, place in standing
    ]
    path.parent.mkdir()
    path.write_text(json.dumps(found))


def test_somebody_who_stands_far_from_all_before_is_somebody_else(tmp_path: Path) -> None:
    write_standing(tmp_path / "poses/a.json", [[(-1, 0)], [(-1, 0)], [(-1, 2)]])
    convert_poses("coco", tmp_path / "poses", tmp_path / "out")
    assert np.isfinite(np.load(tmp_path / "out/a.npy")).any((2, 3)).tolist() == [[True, True, False], [False, False, True]]


def test_somebody_without_an_id_is_nobody_whose_id_is_in_the_frame(tmp_path: Path) -> None:
    write_standing(tmp_path / "poses/a.json", [[(7, 0)], [(7, 0), (-1, 0)]])
    convert_poses("coco", tmp_path / "poses", tmp_path / "out")
    assert np.isfinite(np.load(tmp_path / "out/a.npy")).any((2, 3)).tolist() == [[True, True], [False, True]]


def test_files_that_are_all_called_alike_are_named_by_their_folders(tmp_path: Path) -> None:
    for sample in CLIPS:
        write_alphapose(tmp_path / f"poses/{sample}/alphapose-results.json", lambda person: person)
    (tmp_path / "labels.csv").write_text(LABELS)
    out = convert_poses("coco", tmp_path / "poses", tmp_path / "out", labels=tmp_path / "labels.csv")
    assert sorted(path.stem for path in (out / "clips").iterdir()) == sorted(CLIPS)
    write_alphapose(tmp_path / "poses/more/sit_1/alphapose-results.json", lambda person: person)
    with pytest.raises(AmanetError, match=r"1 clips that stand there twice(.|\n)*more/sit_1(.|\n)*what to do: give each file a name"):
        convert_poses("coco", tmp_path / "poses", tmp_path / "again")


@pytest.mark.parametrize("form", ["coco", "ultralytics"])
def test_files_that_are_links_are_named_by_the_folders_that_they_stand_in(tmp_path: Path, form: PoseFormat) -> None:
    """As where all contents lie in one folder, under names of their own."""
    (tmp_path / "contents").mkdir()
    for sample in CLIPS:
        WRITERS[form](tmp_path / "written", sample)
        (tmp_path / "poses" / sample).mkdir(parents=True)
        for number, path in enumerate(sorted((tmp_path / "written").rglob("*.json"))):
            content = path.rename(tmp_path / f"contents/{sample}-{number}")
            name = "alphapose-results.json" if form == "coco" else path.name
            (tmp_path / "poses" / sample / name).symlink_to(content)
    out = convert_poses(form, tmp_path / "poses", tmp_path / "out")
    assert sorted(path.stem for path in out.iterdir()) == sorted(CLIPS)


def write_every_tenth(form: PoseFormat, folder: Path, sample: str, frames: range) -> None:
    folder.mkdir(exist_ok=True)
    one, two = (people(sample, joints, 3)[0, 0].ravel().tolist() for joints in (17, 25))
    if form == "coco":
        found = [{"image_id": f"frame_{frame:06}.jpg", "keypoints": one} for frame in frames]
        (folder / f"{sample}.json").write_text(json.dumps(found))
    else:
        for frame in frames:
            content = {"people": [{"pose_keypoints_2d": two}]}
            (folder / f"{sample}_{frame:012}_keypoints.json").write_text(json.dumps(content))


@pytest.mark.parametrize("form", ["coco", "openpose"])
def test_every_tenth_frame_is_a_frame_if_no_other_is_written(tmp_path: Path, form: PoseFormat, capsys: pytest.CaptureFixture[str]) -> None:
    """The step is that of all clips: one that shows nobody in every other frame keeps its gaps."""
    write_every_tenth(form, tmp_path / "poses", "a", range(5, 65, 10))
    write_every_tenth(form, tmp_path / "poses", "b", range(0, 100, 20))
    out = convert_poses(form, tmp_path / "poses", tmp_path / "out")
    assert [np.isfinite(np.load(out / f"{sample}.npy")).any((0, 2, 3)).tolist() for sample in "ab"] == [
        [True] * 6,
        [True, False] * 4 + [True],
    ]
    said = " ".join(capsys.readouterr().err.split())
    assert "one frame in 10 was written; these are taken as consecutive" in said
    assert "warning" not in said


def test_clips_that_show_hardly_anybody_are_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for sample, frames in (("a", range(2)), ("b", range(0, 8, 4)), ("c", range(0, 30, 10))):
        write_every_tenth("coco", tmp_path / "poses", sample, frames)
    convert_poses("coco", tmp_path / "poses", tmp_path / "out")
    said = " ".join(capsys.readouterr().err.split())
    assert "in 2 of 3 clips more than half of the frames show nobody; most in c, 18 of 21" in said
    assert "consecutive" not in said


def edited(old: str, new: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        text = (folder / "wave_1.json").read_text()
        assert old in text
        (folder / "wave_1.json").write_text(text.replace(old, new, 1))

    return change


def frame_replaced(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "wave_1/video2_9.json").write_text(text)


def replaced(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "wave_1.json").write_text(text)


@pytest.mark.parametrize(
    ("form", "damage", "message"),
    [
        ("coco", replaced("["), "wave_1.json: this is no JSON"),
        ("coco", replaced("[" * 99_999), "no JSON"),
        ("coco", replaced('{"annotations": [], "annotations": []}'), "an object has a field twice"),
        ("coco", replaced("{}"), "no list 'annotations'"),
        ("coco", replaced('{"instance_info": []}'), "amanet convert mmpose"),
        ("coco", replaced("[1]"), "annotation is no table"),
        ("coco", replaced('[{"image_id": 1, "keypoints": [1, 2]}]'), "other keypoints"),
        ("coco", replaced('[{"image_id": 1, "keypoints": [1, NaN]}]'), "NaN is no number"),
        ("coco", replaced(json.dumps([{"image_id": "one", "keypoints": [1] * 51}])), "image_id is no frame"),
        ("coco", replaced("[]"), "nobody is in any frame"),
        (
            "coco",
            lambda folder: (folder / "wave_1.json").unlink(),
            r"1 rows without files(.|\n)*: sit_1, sit_2, wave_2\n(.|\n)*wave_1 \(line 4\)\n.*mend",
        ),
        ("coco", lambda folder: write_coco(folder, "more"), r"1 clips without a row(.|\n)*got: more\n.*add rows for these, or move"),
        ("coco", lambda folder: write_coco(folder / "sub", "sit_1"), r"1 clips that stand there twice(.|\n)*sit_1"),
        ("mmpose", replaced("{}"), "no list 'instance_info'"),
        ("mmpose", replaced("[[]]"), "no list of objects"),
        ("mmpose", replaced('[{"keypoints": [[1, 1]]}]'), "a frame_id is no frame"),
        ("mmpose", replaced("[]"), "nobody is in any frame"),
        ("coco", replaced('[{"frame_id": 0, "instances": []}]'), "amanet convert mmpose"),
        ("mmpose", edited('"instances"', '"people"'), "no list 'instances'"),
        ("mmpose", edited('"frame_id": 2', '"frame_id": 1'), r"wave_1.json: a frame_id is no frame(.|\n)*each once"),
        ("mmpose", edited('"frame_id": 2', '"frame_id": "2"'), "a frame_id is no frame"),
        ("mmpose", edited('"keypoints": [[', '"keypoints": [[1, 1], ['), "18 such keypoints and 17 scores"),
        ("mmpose", edited('"keypoints": [[', '"keypoints": [[1, '), "16 such keypoints"),
        ("mmpose", edited('"keypoint_scores": [', '"keypoint_scores": [1, '), "17 such keypoints and 18 scores"),
        ("mmpose", edited('"keypoint_scores": [', '"keypoint_scores": ["1", '), "no list of finite numbers"),
        ("mmpose", edited('"0": "nose"', '"0": "root"'), r"not those of COCO(.|\n)*got: root, left_eye"),
        ("ultralytics", frame_replaced("{}"), r"video2_9.json: the file is no list of objects"),
        ("ultralytics", frame_replaced("[3]"), "no list of objects"),
        ("ultralytics", frame_replaced('[{"name": "person"}]'), "a person has no keypoints"),
        ("ultralytics", frame_replaced('[{"keypoints": {"x": [1], "y": [1]}}]'), "a person has no keypoints"),
        ("ultralytics", frame_replaced('[{"keypoints": {"x": [1], "y": [1], "visible": [1, 2]}}]'), "got: 1, 1, 2 numbers"),
        ("ultralytics", frame_replaced('[{"keypoints": {"x": [1], "y": ["a"], "visible": [1]}}]'), "no list of finite numbers"),
        ("ultralytics", lambda folder: (folder / "wave_1/other_9.json").write_text("[]"), "two files are of the same frame"),
        ("ultralytics", lambda folder: (folder / "wave_1/other.json").write_text("[]"), "says no frame"),
        ("ultralytics", lambda folder: write_ultralytics(folder / "sub", "sit_1"), r"1 clips that stand there twice(.|\n)*sub/sit_1"),
        ("openpose", lambda folder: (folder / "wave_1_2_keypoints.json").write_text("{}"), "two files are of the same frame"),
        ("mediapipe", replaced("{}"), "no list of frames"),
        ("mediapipe", replaced("[[{}]]"), "other landmarks than MediaPipe Pose"),
        ("mediapipe", replaced(json.dumps([[{}] * 33])), "has not all of x, y, z and visibility"),
        (
            "mediapipe",
            replaced(json.dumps([[{"x": 1, "y": 1, "z": 1}] * 33])),
            r"visibility(.|\n)*got: an object of 3 fields: 'x', 'y', 'z'",
        ),
        ("mediapipe", replaced(json.dumps([[dict.fromkeys(("x", "y", "z", "visibility"))] * 33])), "no list of finite numbers"),
        ("mediapipe", replaced('[{"landmark": [1]}]'), "other landmarks than MediaPipe Pose"),
        ("openpose", lambda folder: write_openpose(folder, "wave_1", 18), "another model"),
        ("openpose", lambda folder: (folder / "wave_1_000000000002_keypoints.json").write_text("[]"), "no list 'people'"),
        ("openpose", lambda folder: write_openpose(folder, "wave_1", 7), "other joints than the models"),
    ],
)
def test_what_no_estimator_writes_is_refused(tmp_path: Path, form: PoseFormat, damage: Callable[[Path], object], message: str) -> None:
    damage(source(tmp_path, form))
    with pytest.raises(AmanetError, match=message):
        convert_poses(form, tmp_path / "poses", tmp_path / "out", labels=tmp_path / "labels.csv")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("form", "content"),
    [
        ("coco", [["long" * 99] * 99]),
        ("coco", [{"image_id": "long" * 999, "keypoints": [1] * 51}]),
        ("coco", [{"image_id": 1, "keypoints": ["long" * 99] * 51}]),
        ("mmpose", {"long" * 99: "long" * 999}),
        ("mmpose", {"instance_info": [{"frame_id": "long" * 99}]}),
        ("ultralytics", [{"name": "person", "keypoints": {"long" * 99: ["long" * 99] * 99}}]),
        ("ultralytics", [["long" * 99] * 99]),
        ("mediapipe", {"long" * 99: "long" * 999}),
        ("mediapipe", [[{"long" * 99: "long" * 99}] * 9]),
    ],
)
def test_errors_repeat_little_of_a_file(tmp_path: Path, form: PoseFormat, content: object) -> None:
    (tmp_path / "poses").mkdir()
    (tmp_path / "poses/1.json").write_text(json.dumps(content))
    with pytest.raises(FormatError) as caught:
        convert_poses(form, tmp_path / "poses", tmp_path / "out")
    assert len(str(caught.value.got)) < 150


KEYS = st.text(max_size=8) | st.sampled_from(["x", "keypoints"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)


def places(document: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where the values of a document are: the keys and indices that lead to each, the document's own being none."""
    inside = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    return [at, *(place for key, value in inside for place in places(value, (*at, key)))]


def put(document: Any, at: tuple[Any, ...], value: Any) -> Any:
    """The document with another value in a place."""
    if not at:
        return value
    inside = {**document} if isinstance(document, dict) else [*document]
    inside[at[0]] = put(inside[at[0]], at[1:], value)
    return inside


@pytest.mark.parametrize("form", WRITERS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_document_with_anything_in_any_place_is_read_or_refused(tmp_path: Path, form: PoseFormat, data: st.DataObject) -> None:
    folder = tmp_path / form
    if not folder.exists():
        WRITERS[form](folder, "wave_1")
    files = sorted(folder.rglob("*.json"))
    sound = files[0].read_text()
    document = json.loads(sound)
    deepest = max(map(len, places(document)))
    depth = data.draw(st.integers(0, deepest))
    at = data.draw(st.sampled_from([place for place in places(document) if len(place) == depth]))
    files[0].write_text(json.dumps(put(document, at, data.draw(JSON))))
    try:
        with suppress(AmanetError):
            assert np.isfinite(read_poses(form, files).clip("wave_1", 0.0).joints).all()
    finally:
        files[0].write_text(sound)


def test_frames_in_one_folder_are_the_clip_of_its_name(tmp_path: Path) -> None:
    """Frames that show nobody have empty lists, at the ends too."""
    write_ultralytics(tmp_path, "jump")
    (tmp_path / "jump/video2_6.json").write_text("[]")
    out = convert_poses("ultralytics", tmp_path / "jump", tmp_path / "out")
    assert [path.name for path in out.iterdir()] == ["jump.npy"]
    assert np.isfinite(np.load(out / "jump.npy")).any((0, 2, 3)).tolist() == [False, False, *[True] * 6]


def test_folders_that_are_links_are_read(tmp_path: Path) -> None:
    write_ultralytics(tmp_path / "elsewhere", "jump")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/leap").symlink_to(tmp_path / "elsewhere/jump")
    out = convert_poses("ultralytics", tmp_path / "videos", tmp_path / "out")
    assert [path.name for path in out.iterdir()] == ["leap.npy"]


def test_the_landmarks_of_one_person_may_stand_in_a_message(tmp_path: Path) -> None:
    write_mediapipe(tmp_path / "plain", "sit_1")
    frames = [frame and frame[0] for frame in json.loads((tmp_path / "plain/sit_1.json").read_text())]
    (tmp_path / "plain/sit_1.json").write_text(json.dumps(frames))
    (tmp_path / "messages").mkdir()
    (tmp_path / "messages/sit_1.json").write_text(json.dumps([frame and {"landmark": frame} for frame in frames]))
    one, two = (convert_poses("mediapipe", tmp_path / name, tmp_path / f"{name}-out") for name in ("plain", "messages"))
    assert (one / "sit_1.npy").read_bytes() == (two / "sit_1.npy").read_bytes()
