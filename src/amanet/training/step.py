"""One step of training: the mean gradient of a batch over all devices and micro batches, and the optimiser's move."""

import math
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule, _FabricOptimizer
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from amanet.experiment import Recipe
from amanet.skeleton import ClipBatch
from amanet.training.step_graph import Learned, StepGraph


@dataclass(frozen=True)
class StepSum:
    """What a step saw, over all processes: the sum of the losses, clips that were right, clips; and names of clips without a finite loss.

    ``bad`` names those of this process; ``any_bad``, known to all of them, is true for a gradient that is not finite, too.
    """

    loss: float
    correct: float
    clips: float
    bad: list[str]
    any_bad: bool


class TrainingStep:
    """Takes a batch, a share of it in each process, and moves the weights; a loss or a gradient that is not finite moves nothing.

    Args:
        fabric: the devices.
        network: gives logits of joints and presence.
        optimizer: of its weights.
        recipe: loss, micro batches, bound of the gradient.
        class_weights: of each class in the loss; None weighs all alike.
        graph: replay the kernels of a micro batch as one CUDA graph.
    """

    def __init__(
        self,
        fabric: Fabric,
        network: _FabricModule,
        optimizer: _FabricOptimizer,
        recipe: Recipe,
        class_weights: Float[Tensor, " class"] | None,
        *,
        graph: bool = False,
    ) -> None:
        self.fabric, self.network, self.optimizer, self.recipe = fabric, network, optimizer, recipe
        self.class_weights = class_weights
        self.graph = StepGraph(self._learn, list(network.parameters())) if graph else None

    def take(self, batch: ClipBatch) -> StepSum:
        """One move of the optimiser, unless a loss or the gradient is not finite."""
        batch = batch.to(self.fabric.device, non_blocking=True)
        clips = sum_over_processes(self.fabric, float(len(batch)))
        fewest, most = int(clips) // self.fabric.world_size, math.ceil(clips / self.fabric.world_size)
        count = min(math.ceil(most / self.recipe.micro_batch), max(fewest, 1))  # as many in every process, and none is empty
        pieces = np.array_split(np.arange(len(batch)), count)
        share = self.fabric.world_size / clips  # processes average their gradients, so each counts its clips against an even share
        losses = list[Tensor]()
        correct = torch.zeros((), device=self.fabric.device)
        for index, piece in enumerate(pieces):
            part = batch.select(slice(int(piece[0]), int(piece[-1]) + 1))
            waits = index < len(pieces) - 1 and self.fabric.world_size > 1
            with self.fabric.no_backward_sync(self.network) if waits else nullcontext():
                logits, of_part = self._learn(part, share) if self.graph is None else self.graph(part, share)
            losses.append(of_part)
            correct += (logits.argmax(-1) == part.label).sum()
        bad = _not_finite(batch, torch.cat(losses))
        loss = torch.stack([each.sum() for each in losses]).sum()
        any_bad = sum_over_processes(self.fabric, float(len(bad))) > 0 or not self._move()
        return StepSum(
            sum_over_processes(self.fabric, loss.item()), sum_over_processes(self.fabric, correct.item()), clips, bad, any_bad=any_bad
        )

    def _learn(self, part: ClipBatch, share: float | Tensor) -> Learned:
        """Logits and losses, whose share is added to the gradients."""
        logits = self.network(part.joints, part.present)
        logits = logits.float() if logits.dtype == torch.bfloat16 else logits
        losses = F.cross_entropy(logits, part.label, reduction="none", label_smoothing=self.recipe.label_smoothing)
        losses = losses if self.class_weights is None else losses * self.class_weights[part.label]
        self.fabric.backward(losses.sum() * share)
        return logits.detach(), losses.detach()

    def _move(self) -> bool:
        """One move of the optimiser; none, and False, where the gradient, which all processes share, is not finite."""
        weights = list(self.network.parameters())
        norm = get_total_norm([weight.grad for weight in weights if weight.grad is not None])
        if not bool(norm.isfinite()):
            return False
        if self.recipe.clip_gradient is not None:
            clip_grads_with_norm_(weights, self.recipe.clip_gradient, norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=self.graph is None)
        return True


def sum_over_processes(fabric: Fabric, value: float) -> float:
    """The sum of every process's value, which each of them learns."""
    if fabric.world_size == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64, device=fabric.device)
    torch.distributed.all_reduce(total)
    return total.item()


def balanced_weights(labels: Int[np.ndarray, " clip"], num_classes: int) -> Float[Tensor, " class"]:
    """N / (C n) of each class of n clips, for N clips of C classes; their mean over the clips is 1. A class without a clip has 0."""
    counts = np.bincount(labels, minlength=num_classes)
    weights = np.divide(len(labels), np.count_nonzero(counts) * counts, out=np.zeros(num_classes), where=counts > 0)
    return torch.from_numpy(weights.astype(np.float32))


def _not_finite(batch: ClipBatch, losses: Tensor) -> list[str]:
    """The clips whose loss is not finite."""
    if bool(losses.sum().isfinite()):
        return []
    wrong = (~losses.isfinite()).tolist()
    return [sample for sample, is_wrong in zip(batch.sample, wrong, strict=True) if is_wrong]
