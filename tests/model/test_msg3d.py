"""MS-G3D against what the official code computes, and its graph convolutions against loops over joints."""

import copy
import json
import zlib
from collections.abc import Iterator
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from amanet.errors import RunError
from amanet.model import Network
from amanet.model.block import Block
from amanet.model.graph_conv import G3D, MSGCN, GraphConv, mix_nodes
from amanet.model.official import from_official_msg3d, load_official_msg3d
from amanet.model.presets import msg3d
from amanet.skeleton import load_layout
from amanet.skeleton.graph import adjacency
from reference.equations import graph_conv_loop
from reference.msg3d import PublishedMSG3D

GOLDEN = {"msg3d_ntu": ("ntu25", 60, (13, 6), 2e-3), "msg3d_kinetics": ("kinetics18", 400, (8, 8), 1e-4)}
"""Layout, classes, scales, and how well gradient norms agree. On NTU the official code's rounding switched a ReLU: changes of the weights
by a millionth move these norms by up to 5e-3. The published form, below, agrees to 1e-7 where nothing is rounded."""


def official_value(name: str, shape: list[int]) -> Tensor:
    """The weights that the golden values were computed with: a formula of a tensor's name and shape."""
    numbers = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()))).standard_normal(shape)
    if name.endswith("running_var"):
        value = 1 + 0.1 * np.abs(numbers)
    elif name.endswith("running_mean"):
        value = 0.1 * numbers
    elif len(shape) >= 2:
        value = numbers / np.sqrt(prod(shape[1:]))
    else:
        value = 1 + 0.1 * numbers if name.endswith("weight") else 0.1 * numbers
    return torch.from_numpy(value.astype(np.float32))


class Golden:
    """What the official code computes on one input, and our network with the same weights."""

    def __init__(self, name: str, folder: Path) -> None:
        layout, classes, scales, self.tolerance = GOLDEN[name]
        described = json.loads((folder / f"{name}.json").read_text())
        self.shapes: list[tuple[str, list[int]]] = described["tensors"]
        self.num_parameters: int = described["params"]
        self.values = np.load(folder / f"{name}.npz")
        self.network = Network(msg3d(*scales), load_layout(layout), classes, 2)
        load_official_msg3d(self.network, {name: official_value(name, shape) for name, shape in self.shapes})
        self.joints = torch.from_numpy(self.values["x"]).permute(0, 4, 2, 3, 1)

    def owners(self, names: list[str]) -> dict[str, Tensor]:
        """For every number of our weights the place of its official tensor among ``names``."""
        numbered = {name: torch.full(shape, names.index(name) if name in names else -1) for name, shape in self.shapes}
        return from_official_msg3d(numbered)


@pytest.fixture(scope="module", params=GOLDEN)
def golden(request: pytest.FixtureRequest, shared: Path) -> Golden:
    return Golden(request.param, shared / "golden")


def test_as_many_weights_as_the_official_network(golden: Golden) -> None:
    assert sum(weight.numel() for weight in golden.network.parameters()) == golden.num_parameters


def test_logits_in_evaluation(golden: Golden) -> None:
    logits = golden.network.eval()(golden.joints)
    torch.testing.assert_close(logits, torch.from_numpy(golden.values["logits_eval"]), rtol=1e-4, atol=1e-4)


def test_features_inside(shared: Path) -> None:
    """The output of the first block's two paths and of every block's tail, in evaluation."""
    golden = Golden("msg3d_ntu", shared / "golden")
    blocks = [block for block in golden.network.eval().blocks if isinstance(block, Block)]
    inside = {"sgcn1": blocks[0].path, "gcn3d1": blocks[0].windows, **{f"tcn{index + 1}": block.tail for index, block in enumerate(blocks)}}
    found: dict[str, Tensor] = {}
    for name, module in inside.items():
        module.register_forward_hook(lambda module, inputs, output, name=name: found.update({name: output}))
    golden.network(golden.joints)
    for name, output in found.items():
        expected = torch.from_numpy(golden.values[f"act/{name}"]).permute(0, 2, 3, 1)
        torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_training_step(golden: Golden) -> None:
    """Logits, loss, and the norm of the gradient of every tensor; ours in float64, the official code's in float32."""
    network = copy.deepcopy(golden.network).double().train()
    logits = network(golden.joints.double())
    loss = F.cross_entropy(logits, torch.from_numpy(golden.values["labels"]))
    loss.backward()
    torch.testing.assert_close(logits, torch.from_numpy(golden.values["logits_train"]).double(), rtol=1e-4, atol=1e-3)
    assert loss.item() == pytest.approx(float(golden.values["loss_train"]), rel=1e-4)
    names = list(golden.values["grad_names"])
    owner = golden.owners(names)
    squares = torch.zeros(len(names), dtype=torch.float64)
    for name, weight in network.named_parameters():
        assert weight.grad is not None
        squares.index_add_(0, owner[name].flatten(), weight.grad.square().flatten())
    expected = torch.from_numpy(golden.values["grad_norms"])
    exists = squares > 1e-12  # a bias in front of BN has no gradient, and in float32 nothing but rounding
    assert int((~exists).sum()) == 107
    assert float(expected[~exists].max()) < 1e-5
    wrong = (squares.sqrt() / expected - 1).abs()[exists]
    assert float(wrong.max()) < golden.tolerance


# -- against the published form ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def in_float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize(("layout", "scales"), [("ntu25", (13, 6)), ("kinetics18", (8, 8)), ("sbu15", (3, 2))])
def test_equals_the_published_form_in_float64(layout: str, scales: tuple[int, int]) -> None:
    """Logits and the gradient of every tensor and of the input, in training mode, on an odd number of frames."""
    skeleton = load_layout(layout)
    torch.manual_seed(0)
    published = PublishedMSG3D(adjacency(skeleton), 7, 2, scales, width=12).train()
    torch.nn.init.uniform_(published.get_parameter("sgcn2.0.A_res"), -0.2, 0.2)
    torch.nn.init.uniform_(published.get_parameter("gcn3d1.gcn3d.1.gcn3d.1.A_res"), -0.1, 0.1)
    ours = Network(replace(msg3d(*scales), width=12), skeleton, 7, 2).train()
    load_official_msg3d(ours, {f"module.{name}": tensor.clone() for name, tensor in published.state_dict().items()})
    joints = torch.randn(3, 2, 9, skeleton.num_joints, 3)
    their_input, our_input = joints.permute(0, 4, 2, 3, 1).clone().requires_grad_(), joints.clone().requires_grad_()
    theirs, logits = published(their_input), ours(our_input)
    torch.testing.assert_close(logits, theirs, rtol=1e-9, atol=1e-9)
    direction = torch.randn(3, 7)
    (theirs * direction).sum().backward()
    (logits * direction).sum().backward()
    assert their_input.grad is not None
    torch.testing.assert_close(our_input.grad, their_input.grad.permute(0, 4, 2, 3, 1), rtol=1e-7, atol=1e-9)
    gradients = {name: weight.grad for name, weight in published.named_parameters() if weight.grad is not None}
    state = {name: gradients.get(name, torch.zeros_like(tensor)) for name, tensor in published.state_dict().items()}
    expected = from_official_msg3d(state)
    for name, weight in ours.named_parameters():
        torch.testing.assert_close(weight.grad, expected[name], rtol=1e-7, atol=1e-9, msg=name)


def test_official_weights_that_do_not_fit_are_refused() -> None:
    skeleton = load_layout("sbu15")
    official = PublishedMSG3D(adjacency(skeleton), 7, 2, (3, 2), width=6).state_dict()
    ours = Network(replace(msg3d(3, 2), width=6), skeleton, 7, 2)
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    with pytest.raises(RunError, match="no tensor of this name") as caught:
        load_official_msg3d(ours, {name: tensor for name, tensor in official.items() if name != "fc.bias"})
    assert caught.value.got == "fc.bias"
    with pytest.raises(RunError, match="does not have") as caught:
        load_official_msg3d(ours, {**official, "fc2.weight": torch.zeros(1)})
    assert caught.value.got == "fc2.weight"
    other = Network(replace(msg3d(3, 2), width=6), skeleton, 8, 2)
    with pytest.raises(RunError, match="another skeleton") as caught:
        load_official_msg3d(other, official)
    assert (caught.value.expected, caught.value.got) == ("classifier.weight (8, 24)", "classifier.weight (7, 24)")
    with pytest.raises(RunError, match="another skeleton"):
        load_official_msg3d(Network(replace(msg3d(4, 2), width=6), skeleton, 7, 2), official)
    assert all(torch.equal(before[name], tensor) for name, tensor in ours.state_dict().items())


# -- the graph convolutions by themselves ------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("in_float64")
@pytest.mark.parametrize(("channels", "window", "stride"), [((2, 5), 1, 1), ((5, 2), 1, 1), ((2, 5), 3, 2), ((5, 5), 3, 2), ((5, 2), 5, 1)])
def test_graph_conv_equals_its_equation(channels: tuple[int, int], window: int, stride: int) -> None:
    """Both orders of the two products, within frames and over windows, against loops over nodes."""
    torch.manual_seed(1)
    skeleton = load_layout("sbu15")
    scales = (0, 1, 3)
    conv = GraphConv(skeleton, channels, scales, window, stride)
    torch.nn.init.uniform_(conv.residual, -0.5, 0.5)
    features = torch.randn(2, 7, 15, channels[0])
    expected = graph_conv_loop(
        features.numpy(),
        adjacency(skeleton),
        scales,
        conv.residual.detach().numpy(),
        conv.theta.weight.detach().numpy(),
        conv.theta.bias.detach().numpy(),
        window,
        stride,
    )
    np.testing.assert_allclose(conv(features).detach().numpy(), expected, rtol=1e-9, atol=1e-9)


def test_mixed_nodes_have_the_gradients_of_the_product() -> None:
    graph = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    features = torch.randn(2, 3, 3, 5, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(mix_nodes(graph, features), graph @ features)
    assert torch.autograd.gradcheck(mix_nodes, (graph, features))


@pytest.mark.parametrize("needed", ["graph", "features"])
def test_mixed_nodes_compute_only_the_gradients_that_are_needed(needed: str) -> None:
    graph, features = torch.randn(4, 3, requires_grad=needed == "graph"), torch.randn(2, 3, 3, 5, requires_grad=needed == "features")
    mix_nodes(graph, features).sum().backward()
    assert (graph.grad is None) == (needed != "graph")
    assert (features.grad is None) == (needed != "features")


def test_mixed_nodes_in_bfloat16() -> None:
    """In half precision too, the gradient of the graph is summed without rounding on the way."""
    graph, features = torch.rand(3, 3, requires_grad=True), torch.rand(64, 64, 3, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = mix_nodes(graph, features)
    assert mixed.dtype == torch.bfloat16
    mixed.float().sum().backward()
    expected = features.sum((0, 1, 3)).expand(3, 3)
    torch.testing.assert_close(graph.grad, expected, rtol=1e-2, atol=0)


def test_modules_have_gradients_that_check() -> None:
    torch.manual_seed(0)
    skeleton = load_layout("sbu15")
    features = torch.randn(2, 3, 15, 2, dtype=torch.float64, requires_grad=True)
    for module in (MSGCN(skeleton, (2, 3), (0, 1)), G3D(skeleton, (2, 3, 2), (1,), 3, 2)):
        assert torch.autograd.gradcheck(module.double().train(), (features,), fast_mode=True)
