"""The whole network: its size, its invariances, what it explains, and its choices."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from amanet.cost import count_operations
from amanet.errors import ClipError, ExperimentError
from amanet.model import BlockConfig, Network, NetworkConfig
from amanet.model.block import OrderChoice, SpatialChoice, SpatioTemporalChoice, TemporalChoice
from amanet.model.presets import amanet, hybrid, msg3d
from amanet.model.sfem import SFEM
from amanet.model.stfem import STFEM
from amanet.model.tfem import FrameFeatures, JointFeatures
from amanet.skeleton import STREAMS, Stream, layout_names, load_layout

TINY = NetworkConfig(width=6)


def make(config: NetworkConfig = TINY, layout: str = "ntu25", classes: int = 7, bodies: int = 2, **more: object) -> Network:
    torch.manual_seed(0)
    return Network(config, load_layout(layout), classes, bodies, **more).eval()  # type: ignore[arg-type]


def draw_joints(clips: int = 2, bodies: int = 2, frames: int = 9, layout: str = "ntu25") -> Tensor:
    return torch.randn(clips, bodies, frames, load_layout(layout).num_joints, 3, generator=torch.Generator().manual_seed(1))


def count(network: Network) -> int:
    return sum(weight.numel() for weight in network.parameters() if weight.requires_grad)


def test_amanet_has_as_many_weights_and_operations_as_documented() -> None:
    """2.76 M weights; 37.6 GFLOP a clip of the literal 54.8, as maps are shared between windows and merged with others."""
    network = make(NetworkConfig(), classes=60)
    assert count(network) == 2_758_804
    operations = count_operations(network, draw_joints(clips=1, frames=300))["all"]
    assert operations == pytest.approx(37.57e9, rel=0.001)
    assert operations + saved_operations() == pytest.approx(55e9, rel=0.02)


def saved_operations(frames: int = 300, bodies: int = 2, joints: int = 25) -> float:
    """What the equations, taken to the letter, compute besides, in multiply-adds.

    The maps of K everywhere, of V in FF and JF; in block one V Theta from V, and the correlations of SFEM and STFEM times its 96 channels
    instead of 16 that are mapped then; Theta on each token of each window; JF's queries for dropped frames; three of FF's five taps.
    """
    saved = 0.0
    for (channels, middle), in_frames, stride in (((12, 96), frames, 1), ((96, 96), frames, 2), ((192, 192), frames // 2, 2)):
        tokens = in_frames * joints * bodies
        saved += tokens * (3 * channels**2 + 2 * middle**2 + 2 * middle**2)  # K of SFEM and two STFEM, K and V of FF and JF
        saved += tokens * 3 * middle**2
        if middle > channels:
            saved += 3 * tokens * (middle - channels) * middle  # V Theta of SFEM and two windows
            for frames_at_once in (1, 3, 5):
                saved += tokens * frames_at_once * (frames_at_once * joints * (channels + middle - 2 * 16) - 16 * middle)
        for window in (3, 5):
            saved += middle**2 * (tokens // stride * window - tokens)
        if stride == 2:
            saved += tokens // 2 * (middle**2 + 2 * in_frames * middle)
    return 2 * saved


@pytest.mark.parametrize("name", layout_names())
@pytest.mark.parametrize("stream", STREAMS)
def test_every_layout_and_stream_runs(name: str, stream: str) -> None:
    network = make(layout=name, bodies=1, stream=stream)
    assert network(draw_joints(bodies=1, layout=name)).shape == (2, 7)


@pytest.mark.parametrize("frames", [1, 2, 5, 13, 40])
@pytest.mark.parametrize("bodies", [1, 3])
def test_any_length_and_any_number_of_bodies(frames: int, bodies: int) -> None:
    found = make(bodies=bodies)(draw_joints(bodies=bodies, frames=frames))
    assert found.isfinite().all()


def slot_fillings() -> list[BlockConfig]:
    """Every filling of every slot, the other slots as they are in AMANet, in both orders."""
    orders: tuple[OrderChoice, ...] = get_args(OrderChoice)
    return [
        BlockConfig(**{slot: filling}, order=order)
        for order in orders
        for slot, choice in (("spatial", SpatialChoice), ("temporal", TemporalChoice), ("spatio_temporal", SpatioTemporalChoice))
        for filling in get_args(choice)
    ]


@pytest.mark.parametrize(
    "block", slot_fillings(), ids=lambda block: f"{block.spatial},{block.temporal},{block.spatio_temporal},{block.order}"
)
def test_every_filling_of_the_slots_trains(block: BlockConfig) -> None:
    network = make(replace(TINY, block=block)).train()
    network(draw_joints()).logsumexp(-1).sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in network.parameters() if weight.requires_grad)


@pytest.mark.parametrize(
    "block", slot_fillings(), ids=lambda block: f"{block.spatial},{block.temporal},{block.spatio_temporal},{block.order}"
)
def test_every_filling_of_the_slots_explains_what_attention_it_has(block: BlockConfig) -> None:
    network, joints = make(replace(TINY, block=block)), draw_joints()
    found = network.explain(joints)
    torch.testing.assert_close(found.logits, network(joints))
    for each in found.blocks:
        assert (each.spatial is not None) == ("sfem" in block.spatial)
        assert bool(each.windows) == ("stfem" in block.spatio_temporal)
        assert (each.frames is not None) == (block.temporal in ("tfem", "ff+ms_tcn"))


@pytest.mark.parametrize(("preset", "weights"), [(amanet, 2_758_804), (msg3d, 3_194_595), (hybrid, 4_691_275)])
def test_presets_have_as_many_weights_as_documented(preset: Callable[[], NetworkConfig], weights: int) -> None:
    assert count(make(preset(), classes=60)) == weights


@pytest.mark.parametrize(
    ("slots", "weights"),
    [({"spatial": "sfem+ms_gcn"}, 3_380_406), ({"temporal": "tfem"}, 3_738_595), ({"spatio_temporal": "stfem+ms_g3d"}, 3_936_093)],
)
def test_variants_of_msg3d_have_as_many_weights_as_documented(slots: dict[str, str], weights: int) -> None:
    config = msg3d()
    assert count(make(replace(config, block=replace(config.block, **slots)), classes=60)) == weights  # type: ignore[arg-type]


@pytest.mark.parametrize("scales", ["spatial_scales", "window_scales"])
def test_graph_convolutions_without_a_scale_are_refused(scales: str) -> None:
    with pytest.raises(ExperimentError, match="have scales"):
        NetworkConfig(block=BlockConfig(**{scales: 0}))  # type: ignore[arg-type]


@pytest.mark.parametrize("heads", [0, -1])
def test_attention_without_a_head_is_refused(heads: int) -> None:
    with pytest.raises(ExperimentError, match="has heads"):
        NetworkConfig(block=BlockConfig(heads=heads))


@pytest.mark.parametrize("block", [BlockConfig(heads=2), BlockConfig(spatial="gcn", heads=2)])
def test_heads_that_do_not_divide_the_channels_of_a_stream_are_refused(block: BlockConfig) -> None:
    config = replace(TINY, block=block)
    make(config)
    with pytest.raises(ExperimentError, match="do not divide"):
        make(config, stream="bone")


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "shape", [(2, 2, 9, 15, 3), (2, 1, 9, 14, 3), (2, 1, 9, 15, 2), (0, 1, 9, 15, 3), (2, 0, 9, 15, 3), (2, 1, 0, 15, 3)]
)
def test_joints_that_do_not_fit_are_refused(shape: tuple[int, ...], training: bool) -> None:
    network = Network(NetworkConfig(width=6), load_layout("sbu15"), 4, 1).train(training)
    for ask in (network, network.explain):
        with torch.no_grad(), pytest.raises(ClipError, match="do not fit the network") as caught:
            ask(torch.zeros(shape))
        assert str(shape) in str(caught.value)
        assert "1 bodies, frames, 15 joints, 3 coords" in str(caught.value)


def test_kinds_of_numbers_that_do_not_fit_are_refused() -> None:
    """By the check itself, as the types that tests look at refuse them before."""
    network, joints = make(), draw_joints()
    with pytest.raises(ClipError, match=r"no whole numbers(?s:.*)torch\.int64"):
        network._check(joints.long(), None)
    for kind in (torch.uint8, torch.float32):
        with pytest.raises(ClipError, match="yes or no"):
            network._check(joints, torch.ones(joints.shape[:-1], dtype=kind))


@pytest.mark.parametrize("stream", STREAMS)
def test_what_stands_in_the_places_of_absent_joints_does_not_matter(stream: Stream) -> None:
    network = Network(NetworkConfig(width=6), load_layout("sbu15"), 4, 2, stream).eval()
    joints, present = torch.randn(2, 2, 9, 15, 3), torch.rand(2, 2, 9, 15) < 0.7
    present[:, 1] = False
    noise = torch.where(present[..., None], joints, torch.nan)
    for ask in (network, lambda *given: network.explain(*given).logits):
        torch.testing.assert_close(ask(noise, present), ask(joints * present[..., None], present), rtol=0, atol=0)


def test_explaining_computes_every_module_once() -> None:
    network = make().train()
    network.explain(draw_joints())
    counts = {name: int(each) for name, each in network.named_buffers() if name.endswith("num_batches_tracked")}
    assert set(counts.values()) == {1}, counts


@pytest.mark.parametrize("choice", get_args(SpatioTemporalChoice))
def test_what_a_hook_saw_stays_as_it_was(choice: SpatioTemporalChoice) -> None:
    network, seen = make(replace(TINY, block=replace(TINY.block, spatio_temporal=choice))), list[tuple[Any, Any]]()
    for block in network.blocks:
        for part in (block, *block.children()):
            part.register_forward_hook(lambda _, __, output: seen.append((output, output.clone())))
    with torch.no_grad():
        network(draw_joints())
    assert len(seen) >= 3 * 3
    for output, copy in seen:
        assert torch.equal(output, copy)


def test_a_gain_of_zero_leaves_the_residuals_alone() -> None:
    """SFEM and STFEM begin as ReLU(V), FF and JF as their residual; the gains are learned from the first step."""
    network = make(replace(TINY, block=replace(TINY.block, residual_gain=0.0))).train()
    attention = [module for module in network.modules() if isinstance(module, SFEM | FrameFeatures | JointFeatures | STFEM)]
    features = torch.randn(2, 9, 25, 12)
    sfem = network.get_submodule("blocks.0.path.sfem")
    assert isinstance(sfem, SFEM)
    _, _, value = sfem.project(features).split(sfem.widths, dim=-1)
    torch.testing.assert_close(sfem(features), value.relu())
    network(draw_joints()).logsumexp(-1).sum().backward()
    for module in attention:
        assert not module.norm.weight.any()
        assert module.norm.weight.grad is not None
        assert module.norm.weight.grad.any()


def test_scores_of_a_clip_do_not_depend_on_its_neighbours() -> None:
    network, joints = make(), draw_joints(clips=3)
    torch.testing.assert_close(network(joints)[1:2], network(joints[1:2]))


def test_mean_over_present_bodies_leaves_the_absent_out() -> None:
    """Where the second body is absent, ``all`` gives the mean of both bodies' scores and ``present`` the first one's alone."""
    joints, present = draw_joints(), torch.ones(2, 2, 9, 25, dtype=torch.bool)
    present[:, 1] = False
    joints = joints * present[..., None]
    every, seen = make(), make(replace(TINY, body_mean="present"))
    first, second = present.clone(), ~present
    pooled = seen._pool(seen._enter(joints, present)[0])
    of_first, of_second = (seen._classify(pooled, counted) for counted in (first, second))
    torch.testing.assert_close(seen(joints, present), of_first)
    torch.testing.assert_close(every(joints, present), (of_first + of_second) / 2)


def test_a_clip_without_a_body_has_scores() -> None:
    network, joints = make(replace(TINY, body_mean="present")), draw_joints()
    found = network(joints, torch.zeros(joints.shape[:-1], dtype=torch.bool))
    assert torch.equal(found, network.classifier.bias.expand(found.shape))


def test_explanations_are_distributions_of_every_kind_in_every_block() -> None:
    network, joints = make(), draw_joints(frames=12)
    found = network.explain(joints)
    torch.testing.assert_close(found.logits, network(joints))
    assert len(found.blocks) == 3
    for index, block in enumerate(found.blocks):
        frames = [12, 12, 6][index]
        kept = [12, 6, 3][index]
        assert block.spatial is not None
        assert block.spatial.shape == (4, frames, 25, 25)
        assert block.frames is not None
        assert block.frames.shape == (4, -(-frames // 5), 5, 5)
        assert block.joint_frames is not None
        assert block.joint_frames.shape == (4, 25, kept, frames)
        assert {window: tuple(matrix.shape) for window, matrix in block.windows.items()} == {
            3: (4, kept, 75, 75),
            5: (4, kept, 125, 125),
        }
        for matrix in (block.spatial, block.frames, block.joint_frames, *block.windows.values()):
            torch.testing.assert_close(matrix.sum(-1), torch.ones_like(matrix.sum(-1)))


def test_explanations_can_leave_out_the_bones() -> None:
    network, joints = make(), draw_joints()
    alone, fused = (network.explain(joints, graph_weight=weight).blocks[0].spatial for weight in (0.0, None))
    assert alone is not None
    assert fused is not None
    graph = network.get_submodule("blocks.0.path.sfem").graph
    assert isinstance(graph, Tensor)
    unnormalised = alone * torch.exp(0.8 * graph)
    torch.testing.assert_close(fused, unnormalised / unnormalised.sum(-1, keepdim=True))


def test_dp_is_on_in_the_streams_that_are_named() -> None:
    assert make().dp.num_channels == 12
    assert make(stream="bone").dp.num_channels == 3
    assert make(replace(TINY, dp_streams=("bone",)), stream="bone").dp.num_channels == 12


@pytest.mark.parametrize("width", [0, 7, -6])
def test_widths_that_cannot_be_cut_in_six_are_refused(width: int) -> None:
    with pytest.raises(ExperimentError, match="six"):
        NetworkConfig(width=width)


def test_bf16_is_close_to_float32() -> None:
    network, joints = make(), draw_joints()
    with torch.autocast("cpu", torch.bfloat16):
        half = network(joints)
    torch.testing.assert_close(half.float(), network(joints), atol=0.05, rtol=0.05)
