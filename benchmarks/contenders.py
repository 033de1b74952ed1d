"""The networks that the benchmarks of speed compare: AMANet and MS-G3D, as the library has them and as they are written in their papers."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amanet.model import Network
from amanet.model.presets import amanet, msg3d
from amanet.skeleton import load_layout
from amanet.skeleton.graph import adjacency

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from reference.amanet import literal_amanet
from reference.msg3d import PublishedMSG3D

CLASSES, BODIES = 60, 2
LAYOUT = load_layout("ntu25")


@dataclass(frozen=True)
class Contender:
    """A network and how it is called.

    Attributes:
        name: as a table shows it.
        module: whose weights are trained.
        logits: of joints (clip, body, frame, joint, coord).
    """

    name: str
    module: nn.Module
    logits: Callable[[Tensor], Tensor]

    def train_step(self, joints: Tensor, labels: Tensor) -> None:
        """Forward and backward; no optimiser, which costs all of them the same."""
        self.module.train()
        F.cross_entropy(self.logits(joints).float(), labels).backward()
        self.module.zero_grad()

    def infer(self, joints: Tensor) -> None:
        self.module.eval()
        with torch.inference_mode():
            self.logits(joints)


def seen(joints: Tensor) -> Tensor:
    """The mask that a loader gives beside the joints."""
    return joints.any(-1)


def published_msg3d() -> Contender:
    """MS-G3D in the form of its authors, which equals their code (tests/model/test_msg3d.py)."""
    module = PublishedMSG3D(adjacency(LAYOUT), CLASSES, BODIES, (13, 6))
    return Contender("MS-G3D, published form", module, lambda joints: module(joints.permute(0, 4, 2, 3, 1)))


def our_msg3d() -> Contender:
    module = Network(msg3d(), LAYOUT, CLASSES, BODIES)
    return Contender("MS-G3D", module, lambda joints: module(joints, seen(joints)))


def literal() -> Contender:
    """AMANet to the letter, which equals the library's (tests/model/test_literal.py)."""
    module = Network(amanet(), LAYOUT, CLASSES, BODIES)
    return Contender("AMANet, to the letter", module, lambda joints: literal_amanet(module, joints))


def our_amanet() -> Contender:
    module = Network(amanet(), LAYOUT, CLASSES, BODIES)
    return Contender("AMANet", module, lambda joints: module(joints, seen(joints)))


def recomputing_amanet() -> Contender:
    contender = our_amanet()
    assert isinstance(contender.module, Network)
    contender.module.recompute = True
    return replace(contender, name="AMANet, recomputing")


CONTENDERS: dict[str, Callable[[], Contender]] = {
    "published-msg3d": published_msg3d,
    "msg3d": our_msg3d,
    "literal-amanet": literal,
    "amanet": our_amanet,
    "recomputing-amanet": recomputing_amanet,
}


def draw(batch: int, frames: int, device: str = "cpu", alone: int = 0) -> tuple[Tensor, Tensor]:
    """Joints and labels; so many of the clips hold one body alone."""
    joints = torch.randn(batch, BODIES, frames, LAYOUT.num_joints, 3, device=device)
    joints[:alone, 1:] = 0
    return joints, torch.randint(CLASSES, (batch,), device=device)
