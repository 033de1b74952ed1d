"""Batches are a function of seed and epoch: not of workers, processes, interruptions or what else draws random numbers."""

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from amanet.data.dataset import ClipDataset, ClipSampling
from amanet.data.sampler import EpochBatches, make_loader
from amanet.errors import ExperimentError
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


@pytest.mark.parametrize(("num_clips", "batch_size"), [(0, 4), (4, 0)])
def test_nothing_to_make_batches_of(num_clips, batch_size):
    with pytest.raises(ExperimentError, match="nothing to make batches of"):
        EpochBatches(num_clips, batch_size, 0, 0)
