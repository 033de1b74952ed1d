"""Absent bodies computed once against every one of them computed, in float64."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, distributed

from amanet.model import Network, NetworkConfig, network
from amanet.model.block import BlockConfig
from amanet.model.normalisation import BatchNorm, counted_bodies
from amanet.model.shared_bodies import share_absent
from amanet.skeleton import load_layout

LAYOUT = load_layout("sbu15")
FRAMES, CLASSES = 7, 4
BLOCKS = {
    "amanet": BlockConfig(),
    "ms-g3d": BlockConfig(spatial="ms_gcn", temporal="ms_tcn+ms_tcn", spatio_temporal="ms_g3d", spatial_scales=3, window_scales=2),
}


def clips(*bodies: tuple[bool, bool]) -> tuple[Tensor, Tensor]:
    """Clips that hold the first and the second body, or not."""
    here = torch.tensor(bodies)[..., None, None]
    present = here.expand(-1, -1, FRAMES, LAYOUT.num_joints)
    drawn = torch.randn(*present.shape, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return drawn * here[..., None], present


def make(kind: str) -> Network:
    torch.manual_seed(1)
    made = Network(NetworkConfig(width=6, block=BLOCKS[kind]), LAYOUT, CLASSES, num_bodies=2).double()
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.4)
    return made


def step(made: Network, joints: Tensor, present: Tensor) -> dict[str, Tensor]:
    """Logits, gradients and running statistics of a step."""
    logits = made(joints, present)
    found = {"logits": logits.detach()}
    if made.training:
        torch.nn.functional.cross_entropy(logits, torch.arange(len(joints)) % CLASSES).backward()
        found |= {f"of {name}": weight.grad for name, weight in made.named_parameters() if weight.grad is not None}
    return {**found, **{name: each.clone() for name, each in made.named_buffers()}}


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "bodies",
    [
        [(True, False), (True, True), (True, False), (True, False)],
        [(True, False), (False, False), (False, True), (True, True), (False, False)],
        [(False, False), (False, False)],
    ],
)
def test_sharing_changes_nothing(kind: str, training: bool, bodies: list[tuple[bool, bool]], monkeypatch: pytest.MonkeyPatch) -> None:
    joints, present = clips(*bodies)
    assert share_absent(present) is not None
    found = step(make(kind).train(training), joints, present)
    monkeypatch.setattr(network, "share_absent", lambda _: None)
    expected = step(make(kind).train(training), joints, present)
    assert found.keys() == expected.keys()
    for name, each in expected.items():
        torch.testing.assert_close(
            found[name], each, rtol=1e-9, atol=1e-9 * max(1.0, float(each.abs().max())), msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[None]:
    distributed.init_process_group("gloo", init_method=(tmp_path / "meeting").as_uri(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_statistics_of_all_processes_count_copies_too(processes: None, monkeypatch: pytest.MonkeyPatch) -> None:
    joints, present = clips((True, False), (True, True), (True, False), (True, False))
    found: list[dict[str, Tensor]] = []
    for _ in range(2):
        made = make("amanet")
        network.synchronise_statistics(made, True)
        assert all(module.synchronises() for module in made.modules() if isinstance(module, BatchNorm))
        found.append(step(made, joints, present))
        monkeypatch.setattr(network, "share_absent", lambda _: None)
    for name, each in found[1].items():
        torch.testing.assert_close(found[0][name], each, rtol=1e-9, atol=1e-9 * max(1.0, float(each.abs().max())))


def test_a_body_stands_for_more_than_bfloat16_can_count() -> None:
    assert int(counted_bodies(torch.zeros(257, 1, dtype=torch.bfloat16)).copies.sum()) == 257
    joints = torch.zeros(299, 2, 1, 3, 3, dtype=torch.bfloat16)
    joints[:, 0] = 1
    shared = share_absent(joints.any(-1))
    assert shared is not None
    assert int(shared.copies.sum()) == 598


def test_a_compiled_network_shares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(network, "share_absent", lambda _: pytest.fail("the number of bodies would break the graph"))
    make("amanet").eval()(*clips(*[(True, False)] * 3))


def test_what_is_kept() -> None:
    shared = share_absent(clips((True, False), (False, True), (True, False), (False, False), (True, True))[1])
    assert shared is not None
    assert shared.kept.tolist() == [0, 1, 2, 3, 4, 8, 9]
    assert shared.copies.tolist() == [1, 3, 2, 1, 1, 1, 1]
    assert shared.kept[shared.place].tolist() == [0, 1, 2, 3, 4, 1, 2, 1, 8, 9]


@pytest.mark.parametrize("bodies", [[(True, True), (True, True)], [(True, True), (True, False)], [(False, True), (True, False)]])
def test_nothing_is_shared_where_nothing_is_spared(bodies: list[tuple[bool, bool]]) -> None:
    assert share_absent(clips(*bodies)[1]) is None


def test_fewer_bodies_are_computed() -> None:
    made = make("amanet")
    seen: list[int] = []
    made.blocks[0].register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    joints, present = clips(*[(True, False)] * 6)
    made(joints, present)
    made(joints)
    assert seen == [7, 12]


def test_counts_end_with_the_step() -> None:
    made = make("amanet")
    joints, present = clips(*[(True, False)] * 3)
    made(joints, present)
    norm = BatchNorm(2).double()
    rows = torch.randn(5, 3, 2, dtype=torch.float64)
    torch.testing.assert_close(norm(rows).mean((0, 1)), torch.zeros(2, dtype=torch.float64))
