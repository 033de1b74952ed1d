"""The weights of the official MS-G3D code under the names of ours, and in its shapes."""

from collections.abc import Mapping

import torch
from torch import Tensor

from amanet.errors import RunError
from amanet.model.network import BLOCKS, Network
from amanet.model.temporal_conv import BRANCHES, DILATIONS

NORM = ("weight", "bias", "running_mean", "running_var")
CONV = ("weight", "bias")


def load_official_msg3d(network: Network, official: Mapping[str, Tensor]) -> None:
    """Give an MS-G3D network the weights of the official code's ``Model``.

    Raises:
        RunError: a tensor is missing, left over, or of another shape; the network keeps its weights then.
    """
    weights = from_official_msg3d(official)
    expected = network.state_dict()
    wrong = [name for name, weight in weights.items() if name not in expected or weight.shape != expected[name].shape]
    if wrong:
        first = wrong[0]
        shapes = [f"{first} {tuple(state[first].shape)}" if first in state else f"no {first}" for state in (expected, weights)]
        raise RunError(
            "these weights are of an MS-G3D for another skeleton, number of bodies or classes, or of other scales",
            expected=shapes[0],
            got=shapes[1],
        )
    network.load_state_dict({**expected, **weights})


def from_official_msg3d(official: Mapping[str, Tensor], windows: int = 2) -> dict[str, Tensor]:
    """The official weights under our names.

    Where we merge modules (the 1x1 convolutions and the BNs of MS-TCN's branches), tensors are joined; all others keep their numbers in
    another shape. A ``module.`` in front, as DataParallel writes it, is dropped, and so are BN's counters of batches.

    Raises:
        RunError: a tensor is missing or left over.
    """
    return _Converter(official).network(windows)


class _Converter:
    """Takes tensors out of the official state one by one, so that at the end none may be left."""

    def __init__(self, official: Mapping[str, Tensor]) -> None:
        names = {name: name.removeprefix("module.") for name in official}
        self.left = {names[name]: tensor for name, tensor in official.items() if not name.endswith("num_batches_tracked")}
        self.found: dict[str, Tensor] = {}

    def network(self, windows: int) -> dict[str, Tensor]:
        self.norm("data_norm.norm", "data_bn")
        for block in range(BLOCKS):
            ours, theirs = f"blocks.{block}", f"sgcn{block + 1}"
            self.graph_conv(f"{ours}.path.ms_gcn", f"{theirs}.0")
            self.temporal_conv(f"{ours}.path.ms_tcn_1", f"{theirs}.1")
            self.temporal_conv(f"{ours}.path.ms_tcn_2", f"{theirs}.2")
            self.temporal_conv(f"{ours}.tail", f"tcn{block + 1}")
            for window in range(windows):
                self.g3d(f"{ours}.windows.ms_g3d.{window}", f"gcn3d{block + 1}.gcn3d.{window}")
        for kind in CONV:
            self.found[f"classifier.{kind}"] = self.take(f"fc.{kind}")
        if self.left:
            raise _mismatch("tensors that MS-G3D does not have", sorted(self.left))
        return self.found

    def take(self, name: str) -> Tensor:
        if name not in self.left:
            raise _mismatch("no tensor of this name", [name])
        return self.left.pop(name)

    def norm(self, ours: str, *theirs: str) -> None:
        """One BN out of those of several branches."""
        for kind in NORM:
            self.found[f"{ours}.{kind}"] = torch.cat([self.take(f"{name}.{kind}") for name in theirs])
        self.found[f"{ours}.num_batches_tracked"] = torch.tensor(0)

    def linear(self, ours: str, *theirs: str) -> None:
        """One linear layer out of the 1x1 convolutions of several branches."""
        self.found[f"{ours}.weight"] = torch.cat([self.take(f"{name}.weight").flatten(1) for name in theirs])
        self.found[f"{ours}.bias"] = torch.cat([self.take(f"{name}.bias") for name in theirs])

    def graph_conv(self, ours: str, theirs: str) -> None:
        residual = self.take(f"{theirs}.A_res")
        self.found[f"{ours}.conv.residual"] = residual.unflatten(0, (-1, residual.shape[-1]))
        self.linear(f"{ours}.conv.theta", f"{theirs}.mlp.layers.0")
        self.norm(f"{ours}.norm", f"{theirs}.mlp.layers.1")

    def g3d(self, ours: str, theirs: str) -> None:
        self.graph_conv(ours, f"{theirs}.gcn3d.1")
        self.found[f"{ours}.collapse.weight"] = self.take(f"{theirs}.out_conv.weight").squeeze(2)
        self.found[f"{ours}.collapse.bias"] = self.take(f"{theirs}.out_conv.bias")
        self.norm(f"{ours}.collapse_norm", f"{theirs}.out_bn")

    def temporal_conv(self, ours: str, theirs: str) -> None:
        *entering, last = [f"{theirs}.branches.{branch}" for branch in range(BRANCHES)]
        *dilated, pooled = entering
        self.linear(f"{ours}.enter", *(f"{branch}.0" for branch in entering))
        self.norm(f"{ours}.enter_norm", *(f"{branch}.1" for branch in entering))
        for index in range(len(DILATIONS)):
            for kind in CONV:
                self.found[f"{ours}.dilated.{index}.{kind}"] = self.take(f"{dilated[index]}.3.conv.{kind}")
        self.linear(f"{ours}.skip", f"{last}.0")
        self.norm(f"{ours}.leave_norm", *(f"{branch}.3.bn" for branch in dilated), f"{pooled}.4", f"{last}.1")
        if f"{theirs}.residual.conv.weight" in self.left:
            self.linear(f"{ours}.residual.0", f"{theirs}.residual.conv")
            self.norm(f"{ours}.residual.1", f"{theirs}.residual.bn")


def _mismatch(problem: str, names: list[str]) -> RunError:
    rest = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return RunError(
        f"these are not the weights of the official MS-G3D: {problem}",
        got=", ".join(names[:5]) + rest,
        expected="the state dict of its model.msg3d.Model",
    )
