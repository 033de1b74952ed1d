"""The kernels of a GPU against what a CPU computes: on a GPU where there is one, else by Triton's interpreter.

In a process of its own, as the interpreter is chosen before Triton is imported, and as kernels know no shape checks.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from itertools import product

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton, in which the kernels are written, is for Linux alone")
@pytest.mark.parametrize("part", ["norm", "windows", "groups", "network"])
def test_kernels_compute_the_same(part: str) -> None:
    environment = os.environ if DEVICE == "cuda" else {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, __file__, part], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == [part]


def compare(found: list[Tensor], expected: list[Tensor], kind: torch.dtype, single: float = 2e-4) -> None:
    tolerance = single if kind == torch.float32 else 1e-10
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other.to(one.device), rtol=tolerance, atol=tolerance * max(1.0, float(other.abs().max())))


def check_norm() -> None:
    """BN with a residual, which may be windows of frames, with and without a ReLU, bodies counted or not."""
    from amanet.model import norm_kernels, norm_loops, normed_sum

    def step(sweeps: object, inputs: list[Tensor], copies: Tensor | None, *, cuts: bool, activates: bool) -> list[Tensor]:
        normed_sum._sweeps = lambda _: sweeps  # pyright: ignore[reportAttributeAccessIssue]
        if sweeps is norm_loops:
            inputs, copies = [each.cpu() for each in inputs], None if copies is None else copies.cpu()
        features, weight, bias, *others = (each.clone().requires_grad_() for each in inputs)
        residual = None
        if others:
            residual = others[0].unfold(1, 3, 1).permute(0, 1, 4, 2, 3).flatten(2, 3) if cuts else others[0]
        rows = float(3 if copies is None else copies.sum()) * 75
        output, mean, variance = normed_sum.normalise(features, weight, bias, 1e-5, rows, copies, residual, activates=activates)
        torch.sin(output).sum().backward()
        gradients = [each.grad for each in (features, weight, bias, *others)]
        return [output.detach(), mean, variance, *(each for each in gradients if each is not None)]

    for kind, channels, shape, activates, counts in product(
        (torch.float64, torch.float32), (12, 96, 20), (None, (5, 15), (7, 5)), (False, True), (False, True)
    ):
        inputs = [torch.randn(3, 5, 15, channels), *torch.randn(2, channels)]
        inputs += [] if shape is None else [torch.randn(3, *shape, channels)]
        inputs = [each.to(DEVICE, kind) for each in inputs]
        copies = torch.tensor([1.0, 4.0, 2.0], device=DEVICE) if counts else None
        found, expected = (step(sweeps, inputs, copies, cuts=shape == (7, 5), activates=activates) for sweeps in (norm_kernels, norm_loops))
        compare(found, expected, kind)

    # Features of other than four axes, and a residual whose channels lie apart.
    for shape, order in (((3, 75, 12), (0, 1, 2)), ((3, 5, 5, 3, 12), (0, 1, 2, 3, 4)), ((3, 12, 5, 15), (0, 2, 3, 1))):
        residual = torch.randn(shape, dtype=torch.float64, device=DEVICE).permute(order)
        inputs = [torch.randn_like(residual).contiguous(), *torch.randn(2, 12, dtype=torch.float64, device=DEVICE)]
        found, expected = (step(sweeps, [*inputs, residual], None, cuts=False, activates=True) for sweeps in (norm_kernels, norm_loops))
        compare(found, expected, torch.float64)


def check_windows() -> None:
    """The gradient of windows, whose frames some stride leaves out."""
    from amanet.model import window_kernels

    for (size, stride, frames), kind in product(((3, 1, 9), (5, 2, 12), (3, 2, 7), (1, 1, 3), (4, 3, 11)), (torch.float64, torch.float32)):
        drawn = torch.randn(2, frames, 3, 5, dtype=kind, device=DEVICE)
        ours, plain = drawn.clone().requires_grad_(), drawn.clone().requires_grad_()
        found, expected = window_kernels.cut(ours, size, stride), plain.unfold(1, size, stride).permute(0, 1, 4, 2, 3).flatten(2, 3)
        torch.sin(found).sum().backward()
        torch.sin(expected).sum().backward()
        assert ours.grad is not None
        assert plain.grad is not None
        compare([found.detach(), ours.grad], [expected.detach(), plain.grad], kind)


def check_groups() -> None:
    """FF's attention, groups that the frames fill or not, and groups larger than a tile."""
    from amanet.model.group_kernels import mix_groups
    from amanet.model.tfem import correlate_within

    def plainly(query: Tensor, features: Tensor, group: int) -> Tensor:
        missing = -features.shape[1] % group
        query, key = (F.pad(each, (0, 0, 0, 0, 0, missing)).unflatten(1, (-1, group)).flatten(3) for each in (query, features))
        return (correlate_within(query, key, missing) @ key).flatten(1, 2)[:, : features.shape[1]].view(features.shape)

    for group, frames in ((5, 10), (5, 13), (3, 7), (20, 41), (1, 4)):
        inputs = torch.randn(2, 2, frames, 7, 24, device=DEVICE)
        results = list[list[Tensor]]()
        for mix in (mix_groups, plainly):
            query, features = (each.clone().requires_grad_() for each in inputs)
            output = mix(query, features, group)
            torch.sin(output).sum().backward()
            assert query.grad is not None
            assert features.grad is not None
            results.append([output.detach(), query.grad, features.grad])
        compare(results[0], results[1], torch.float32)


def check_network() -> None:
    """A training step and evaluation of whole networks, absent bodies shared, every module on its GPU's road."""
    from amanet.model import BlockConfig, Network, NetworkConfig, network, normalisation, normed_sum, stfem, tfem, windows
    from amanet.skeleton import load_layout

    layout = load_layout("sbu15")

    def step(block: BlockConfig, kind: torch.dtype, *, on_kernels: bool) -> list[Tensor]:
        for module in (normalisation, normed_sum, tfem, windows):
            vars(module)["runs_kernels"] = lambda _: on_kernels
        for module in (stfem, tfem):
            vars(module)["works_in_pieces"] = lambda _: not on_kernels
        torch.manual_seed(0)
        network.FEWEST_SHARED = 2
        made = Network(NetworkConfig(width=6, block=block), layout, 4, 2)
        for weight in made.parameters():
            torch.nn.init.normal_(weight, std=0.3)
        made.to(DEVICE, kind)
        joints = torch.randn(4, 2, 9, layout.num_joints, 3).to(DEVICE, kind)
        joints[1:, 1] = 0
        logits = made(joints, joints.any(-1))
        F.cross_entropy(logits, torch.arange(4, device=DEVICE)).backward()
        found = [logits.detach(), *(weight.grad for weight in made.parameters() if weight.grad is not None)]
        with torch.no_grad():
            return [*found, *made.buffers(), made.eval()(joints, joints.any(-1))]

    hybrid = BlockConfig("sfem+ms_gcn", spatio_temporal="stfem+ms_g3d", spatial_scales=3, window_scales=2, graph_joins="correlations")
    for block, kind in product((BlockConfig(), hybrid), (torch.float64, torch.float32)):
        # In float32 rounding switches a ReLU now and then.
        compare(step(block, kind, on_kernels=True), step(block, kind, on_kernels=False), kind, single=5e-3)


if __name__ == "__main__":
    torch.manual_seed(0)
    globals()[f"check_{sys.argv[1]}"]()
    print(sys.argv[1])
