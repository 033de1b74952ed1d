"""Batches are a function of seed and epoch: not of workers, processes, interruptions or what else draws random numbers."""

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from amanet.data.dataset import ClipDataset, ClipSampling
from amanet.data.sampler import EpochBatches, draw_balanced, make_loader
from amanet.errors import ExperimentError, StoreError
from fabricate.stores import ragged_clips, write_store

SAMPLING = ClipSampling(frames=16, fit="resize", rotate=20.0, scale=0.1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> ClipDataset:
    store = write_store(tmp_path_factory.mktemp("stores") / "store", ragged_clips())
    return ClipDataset(store, np.arange(len(store)), SAMPLING, seed=5, training=True)


def batches_of(dataset, **settings):
    return list(make_loader(dataset, **{"batch_size": 5, "seed": 3, "epoch": 2, "shuffle": True, **settings}))


def assert_same(one, two):
    assert [batch.sample for batch in one] == [batch.sample for batch in two]
    for left, right in zip(one, two, strict=True):
        assert torch.equal(left.joints, right.joints)
        assert torch.equal(left.present, right.present)
        assert torch.equal(left.label, right.label)


@given(
    num_clips=st.integers(1, 300),
    batch_size=st.integers(1, 40),
    world_size=st.integers(1, 4),
    epoch=st.integers(0, 3),
    shuffle=st.booleans(),
)
def test_every_clip_once_in_nearly_equal_batches_over_any_processes(num_clips, batch_size, world_size, epoch, shuffle):
    def batches(rank, world_size):
        return [
            [position for _, position in batch]
            for batch in EpochBatches(num_clips, batch_size, 7, epoch, rank=rank, world_size=world_size, shuffle=shuffle)
        ]

    whole = batches(0, 1)
    assert sorted(chain(*whole)) == list(range(num_clips))
    sizes = [len(batch) for batch in whole]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    if min(sizes) < world_size:
        with pytest.raises(ExperimentError, match="fewer clips than there are processes"):
            batches(0, world_size)
        return
    ranks = [batches(rank, world_size) for rank in range(world_size)]
    assert whole == [list(chain(*parts)) for parts in zip(*ranks, strict=True)]
    assert all(ranks[0])


def test_order_follows_from_seed_and_epoch():
    def order(seed, epoch):
        return list(EpochBatches(50, 8, seed, epoch))

    assert order(1, 0) == order(1, 0)
    positions = [[position for batch in order(seed, epoch) for _, position in batch] for seed, epoch in ((1, 0), (1, 1), (2, 0))]
    assert positions[0] != positions[1] != positions[2] != positions[0]
    assert all(epoch == 4 for batch in order(1, 4) for epoch, _ in batch)
    in_order = [position for batch in EpochBatches(50, 8, 1, 0, shuffle=False) for _, position in batch]
    assert in_order == list(range(50))


@given(num_clips=st.integers(1, 60), start=st.integers(0, 80))
def test_rest_of_an_epoch_is_what_it_would_have_been(num_clips, start):
    whole = list(EpochBatches(num_clips, 4, 1, 2))
    rest = EpochBatches(num_clips, 4, 1, 2, start_batch=start)
    assert list(rest) == whole[start:]
    assert len(rest) == len(whole[start:])


def test_resumed_epoch_gives_the_same_rest(dataset):
    assert_same(batches_of(dataset)[1:], batches_of(dataset, start_batch=1))


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more workers than this machine has cores
def test_workers_change_nothing(dataset):
    alone = batches_of(dataset)
    assert len(alone) == 3
    assert_same(alone, batches_of(dataset, workers=4))


@pytest.mark.parametrize("damage", ["replaced", "removed"])
def test_a_store_that_is_replaced_reaches_no_worker(tmp_path, damage):
    store = write_store(tmp_path / "store", ragged_clips())
    dataset = ClipDataset(store, np.arange(len(store)), SAMPLING, seed=5, training=True)
    if damage == "replaced":
        write_store(tmp_path / "store", ragged_clips()[:-1], overwrite=True)
    else:
        (tmp_path / "store").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreError) as caught:
        batches_of(dataset, workers=1)
    assert ("replaced while it was in use" if damage == "replaced" else "nothing at this place") in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_order_changes_no_clip(dataset):
    shuffled = {name: joints for batch in batches_of(dataset) for name, joints in zip(batch.sample, batch.joints, strict=True)}
    for batch in batches_of(dataset, shuffle=False, batch_size=7):
        for name, joints in zip(batch.sample, batch.joints, strict=True):
            assert torch.equal(joints, shuffled[name])


def test_epochs_augment_differently(dataset):
    one, two = (batches_of(dataset, epoch=epoch, shuffle=False) for epoch in (0, 1))
    assert one[0].sample == two[0].sample
    assert not torch.equal(one[0].joints, two[0].joints)


def global_numbers() -> np.ndarray:
    return np.array(np.random.get_state(legacy=False)["state"]["key"])  # type: ignore[call-overload]  # noqa: NPY002


@pytest.mark.parametrize("workers", [0, 2])
def test_global_random_numbers_are_left_alone(dataset, workers):
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    states = torch.get_rng_state(), global_numbers()
    batches_of(dataset, workers=workers)
    assert torch.equal(torch.get_rng_state(), states[0])
    np.testing.assert_array_equal(global_numbers(), states[1])


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6), epoch=st.integers(0, 3), start=st.integers(0, 5))
def test_a_balanced_epoch_shows_each_class_equally_often_over_any_processes(sizes, epoch, start):
    labels = np.repeat(np.arange(len(sizes)) * 2, sizes)  # every second class has no clip

    def batches(rank=0, world_size=1, start=0):
        settings = {"rank": rank, "world_size": world_size, "start_batch": start, "balanced_labels": labels}
        return list(EpochBatches(len(labels), 8, 7, epoch, **settings))

    whole = batches()
    shown = list(chain(*whole))
    assert len(set(shown)) == len(shown) == len(labels)
    times = np.bincount([index[1] for index in shown], minlength=len(labels))
    for label, size in zip(np.unique(labels), sizes, strict=True):
        of_class = times[labels == label]
        assert abs(of_class.sum() - len(labels) / len(sizes)) < 1
        assert of_class.max() - of_class.min() <= 1
        assert len(of_class) == size
    assert all(list(index[2:]) in ([], [1]) or index[2] < times[index[1]] for index in shown)
    assert batches(start=start) == whole[start:]
    if min(len(batch) for batch in whole) >= 2:
        assert whole == [one + two for one, two in zip(batches(0, 2), batches(1, 2), strict=True)]


def test_large_classes_come_in_turn_and_a_clip_that_comes_again_is_augmented_anew(dataset):
    labels = np.array([0] * 20 + [1] * 2)
    epochs = [{index[1] for batch in EpochBatches(22, 8, 0, epoch, balanced_labels=labels) for index in batch} for epoch in range(8)]
    assert set.union(*epochs) == set(range(22))
    assert not torch.equal(torch.from_numpy(dataset[2, 3].joints), torch.from_numpy(dataset[2, 3, 1].joints))


def test_no_class_comes_more_often_than_another_over_many_epochs():
    labels = np.repeat(np.arange(3), 3)[:-1]
    drawn = [np.bincount(labels[draw_balanced(labels, np.random.default_rng(epoch))]) for epoch in range(20)]
    assert {int(counts.argmin()) for counts in drawn} == {0, 1, 2}
    assert all(sorted(counts) == [2, 3, 3] for counts in drawn)


def test_a_balanced_loader_goes_by_the_labels_of_the_clips(dataset):
    rows = np.flatnonzero(np.isin(dataset.store.index["label"].to_numpy(), [0, 1]))[:4]
    some = ClipDataset(dataset.store, rows, SAMPLING, seed=5, training=True)
    assert some.labels.tolist() == [0, 1, 0, 1]
    uneven = ClipDataset(dataset.store, rows[[0, 1, 3]], SAMPLING, seed=5, training=True)
    counts = np.bincount([label for epoch in range(4) for batch in batches_of(uneven, epoch=epoch, balanced=True) for label in batch.label])
    assert counts.sum() == 12
    assert abs(counts[0] - counts[1]) <= 4


@pytest.mark.parametrize(("num_clips", "batch_size"), [(0, 4), (4, 0)])
def test_nothing_to_make_batches_of(num_clips, batch_size):
    with pytest.raises(ExperimentError, match="nothing to make batches of"):
        EpochBatches(num_clips, batch_size, 0, 0)
