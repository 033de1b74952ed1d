"""Lists of labels are told from clips, say who is to be left out, and must agree with what the clips say."""

import json
from pathlib import Path

import pytest

from amanet.data.archive import list_members
from amanet.data.label_list import check_labels, read_label_lists
from amanet.data.published import get_dataset
from amanet.data.store_writer import encode_clips
from amanet.errors import FormatError, StoreError
from fabricate.raw import kinetics_sample, write_kinetics
from fabricate.stores import fabricate_clip

KINETICS = get_dataset("kinetics")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_kinetics(tmp_path_factory.mktemp("raw"))


def test_lists_are_told_from_clips_and_joined(raw: Path) -> None:
    members, listed = read_label_lists(KINETICS, list_members([raw], KINETICS.suffix, KINETICS.folders))
    assert [member.where.parent.name for member in members] == ["kinetics_train"] * 4 + ["kinetics_val"] * 2
    names = [f"kinetics_{part}-{kinetics_sample(clip)}" for part, clips in (("train", 4), ("val", 2)) for clip in range(clips)]
    assert listed == dict(zip(names, [0, 1, 2, None, 0, 1], strict=True))


def test_other_data_sets_have_no_lists(raw: Path) -> None:
    members = list_members([raw], ".json", 1)
    assert read_label_lists(get_dataset("nucla"), members) == (members, {})


def test_a_damaged_list_is_refused(tmp_path: Path) -> None:
    path = write_kinetics(tmp_path / "raw") / "kinetics_val_label.json"
    path.write_text(json.dumps({kinetics_sample(0): {"has_skeleton": True, "label": "yoga", "label_index": 0}}))
    with pytest.raises(FormatError, match="abseiling") as caught:
        read_label_lists(KINETICS, list_members([tmp_path], KINETICS.suffix, KINETICS.folders))
    assert caught.value.where == str(path)


def test_clips_of_another_label_are_named() -> None:
    samples = [f"kinetics_train-{kinetics_sample(clip)}" for clip in range(3)]
    clips = [fabricate_clip(sample, dataset="kinetics") for sample in samples]
    rows = encode_clips(clips, [KINETICS.parse(sample) for sample in samples])
    check_labels(rows, {})
    check_labels(rows, dict.fromkeys(samples[1:], 0))
    with pytest.raises(StoreError, match="2 clips have another label") as caught:
        check_labels(rows, dict.fromkeys(samples[1:], 7))
    assert caught.value.got == f"{samples[1]} (0, listed as 7), {samples[2]} (0, listed as 7)"
