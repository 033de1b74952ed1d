"""A trained network is used on clips of its own kind only."""

from dataclasses import replace
from pathlib import Path

import pytest

from amanet.data.dataset import ClipSampling
from amanet.data.published import get_dataset
from amanet.errors import RunError
from amanet.model import NetworkConfig
from amanet.skeleton import load_layout
from amanet.trained import NetworkCard, check_store
from fabricate.stores import fabricate_clip, write_store

CARD = NetworkCard(
    dataset="ntu60",
    normalisation="aligned",
    layout=load_layout("ntu25"),
    class_names=get_dataset("ntu60").class_names,
    max_bodies=2,
    num_bodies=2,
    stream="joint",
    network=NetworkConfig(width=6),
    sampling=ClipSampling(frames=8),
)


def test_a_store_of_its_kind_is_taken(tmp_path: Path) -> None:
    check_store(CARD, write_store(tmp_path / "store", [fabricate_clip("S001C001P001R001A001")]), tmp_path)


def test_a_store_of_another_skeleton_is_refused_with_both_layouts(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", [fabricate_clip("a1_s1_t1_skeleton", dataset="utd-mhad")], "utd-mhad")
    with pytest.raises(RunError, match="skeleton is not the one that the network was trained on") as caught:
        check_store(CARD, store, tmp_path)
    assert (caught.value.expected, caught.value.got) == ("layout ntu25 of 25 joints", "layout kinect20 of 20 joints")
    assert "cannot stand for another's" in str(caught.value.cure)


def test_a_store_of_another_data_set_is_refused(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", [fabricate_clip("S001C001P001R001A001")], "ntu120")
    with pytest.raises(RunError, match="data set is not the one"):
        check_store(CARD, store, tmp_path)


def test_a_layout_that_was_changed_is_refused(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", [fabricate_clip("S001C001P001R001A001")])
    other = replace(CARD, layout=replace(CARD.layout, centre=CARD.layout.centre + 1, up=CARD.layout.across))
    with pytest.raises(RunError, match="layout was changed") as caught:
        check_store(other, store, tmp_path)
    assert "another centre, up" in str(caught.value)
