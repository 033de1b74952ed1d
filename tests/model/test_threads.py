"""Threads that help one another: every part is worked on once, and what comes out hangs neither on their number nor on who is faster."""

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from amanet.model import BlockConfig, Network, NetworkConfig, linear, side_by_side
from amanet.model.normalisation import BatchNorm
from amanet.model.pieces import at_once, cut, scratch, shares, tiles
from amanet.model.threads import Pool, divide, helped_by, helpers, number_of_threads
from amanet.skeleton import load_layout

BLOCKS = {
    "amanet": BlockConfig(),
    "ms-g3d": BlockConfig(spatial="ms_gcn", temporal="ms_tcn+ms_tcn", spatio_temporal="ms_g3d", spatial_scales=3, window_scales=2),
}


@pytest.fixture(autouse=True)
def _threads_of_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_every_part_is_done_once_by_several() -> None:
    met = threading.Barrier(3, timeout=60)
    done: list[tuple[int, str]] = []

    def work(part: int) -> None:
        if part < 3:
            met.wait()  # which nobody passes alone
        done.append((part, threading.current_thread().name))

    with helped_by(helpers(2), 3):
        divide(work, range(20))
    assert sorted(part for part, _ in done) == list(range(20))
    assert len({name for _, name in done}) == 3
    assert threading.current_thread().name in {name for _, name in done}


def test_without_helpers_a_thread_works_by_itself_and_in_order() -> None:
    done: list[tuple[int, threading.Thread]] = []
    divide(lambda part: done.append((part, threading.current_thread())), range(5))
    assert done == [(part, threading.current_thread()) for part in range(5)]
    assert number_of_threads() == 1


def test_helpers_are_as_the_thread_that_they_help_but_divide_nothing() -> None:
    met = threading.Barrier(2, timeout=60)
    seen: list[tuple[bool, bool, int, int]] = []

    def work(_: int) -> None:
        met.wait()
        seen.append((torch.is_inference_mode_enabled(), torch.is_grad_enabled(), torch.get_num_threads(), number_of_threads()))

    torch.set_num_threads(3)
    others = helpers(4)
    for mode, expected in ((torch.inference_mode, (True, False)), (torch.no_grad, (False, False)), (torch.enable_grad, (False, True))):
        seen.clear()
        with helped_by(others, 2), mode():
            divide(work, range(2))
        assert sorted(seen) == [(*expected, 1, 1), (*expected, 3, 1)]
        assert number_of_threads() == 1


def test_an_error_of_a_helper_is_raised_when_all_are_done() -> None:
    met = threading.Barrier(2, timeout=60)
    done: list[int] = []

    def work(part: int) -> None:
        met.wait()
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError("no room")
        done.append(part)

    with helped_by(helpers(2), 2), pytest.raises(MemoryError, match="no room"):
        divide(work, range(2))
    assert len(done) == 1


@pytest.mark.parametrize(("items", "by", "expected"), [(7, 3, [3, 3, 1]), (2, 3, [1, 1]), (0, 2, []), (5, 1, [5])])
def test_shares_are_about_equal(items: int, by: int, expected: list[int]) -> None:
    with helped_by(helpers(2), by):
        found = shares(items)
    assert [len(range(items)[share]) for share in found] == expected


def test_there_are_pieces_for_all() -> None:
    assert tiles((1, 75), 1) == [(slice(0, 1), slice(0, 75))]
    assert tiles((1, 75), 1, among=3) == [(slice(0, 1), slice(start, start + 25)) for start in (0, 25, 50)]
    assert tiles((6, 2), 1, among=3) == [(slice(start, start + 2), slice(0, 2)) for start in (0, 2, 4)]


def draw_and_learn(network: Network, joints: Tensor, by: int) -> list[Tensor]:
    """Logits in evaluation and in training, and gradients."""
    torch.set_num_threads(by)
    with torch.inference_mode():
        found = [network.eval()(joints).clone()]
    logits = network.train()(joints)
    logits.square().sum().backward()
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    network.zero_grad()
    return [*found, logits.detach(), *gradients]


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("kind", BLOCKS)
def test_one_body_on_several_threads_gives_what_it_gives_on_one(kind: str, ours: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit where products are ours, as what a part gives does not hang on where it was cut."""
    monkeypatch.setattr(side_by_side, "LEAST_WORK", 1)
    monkeypatch.setattr(linear, "LEAST_DIVIDED", 0)
    monkeypatch.setattr(linear, "OURS_ARE_FASTER", ours)
    torch.manual_seed(0)
    network = Network(NetworkConfig(width=12, block=BLOCKS[kind]), load_layout("sbu15"), num_classes=5, num_bodies=1)
    for norm in network.modules():
        if isinstance(norm, BatchNorm):
            nn.init.normal_(norm.weight, 1.0, 0.3)
            norm.momentum = 0.0
    joints = torch.randn(1, 1, 23, 15, 3)
    expected = draw_and_learn(network, joints, 1)
    for by in (2, 3, 5):
        for found, known in zip(draw_and_learn(network, joints, by), expected, strict=True):
            if ours:
                assert torch.equal(found, known)
            else:
                torch.testing.assert_close(found, known, rtol=1e-3, atol=1e-3)


def test_a_thread_that_cannot_start_is_an_error_and_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = threading.Thread.start, list[threading.Thread]()

    def start_one(thread: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    torch.set_num_threads(3)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_one)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            Pool(3)
    started[0].join(timeout=60)
    assert not started[0].is_alive()
    assert torch.get_num_threads() == 3


def test_no_items_are_no_pieces() -> None:
    assert list(cut(0, 0)) == []
    assert at_once(0) > 0


def test_memory_of_a_thread_is_where_its_user_is() -> None:
    with torch.device("meta"):
        assert scratch("here", (3,), torch.zeros(1, device="cpu")).device.type == "cpu"
