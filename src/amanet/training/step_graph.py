"""The losses and gradients of a micro batch as one CUDA graph: a thousand kernels that a CPU starts as one.

A small micro batch keeps a GPU busy for less time than a CPU needs to start its kernels. Within a graph nothing may depend on what the
clips hold, so absent bodies are computed like present ones.
"""

from collections import Counter
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from amanet.skeleton import ClipBatch

Learned = tuple[Float[Tensor, "clip class"], Float[Tensor, " clip"]]
"""Logits and losses."""


class StepGraph:
    """Calls a function that adds to gradients, and captures it once a shape of its clips has come a few times; other shapes are called.

    Args:
        learn: logits and losses of a batch, whose gradients, weighed by a number, it adds to those of the weights.
        weights: what has gradients.
    """

    WARM_UP = 3

    def __init__(self, learn: Callable[[ClipBatch, Tensor], Learned], weights: list[Tensor]) -> None:
        self.learn, self.weights = learn, weights
        self.seen: Counter[torch.Size] = Counter()
        self.aside = torch.cuda.Stream()
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, batch: ClipBatch, share: float) -> Learned:
        weight = torch.full((), share, device=batch.joints.device)
        shape = batch.joints.shape
        if self.graph is None and self.seen[shape] == self.WARM_UP:
            self._capture(batch, weight)
        if self.graph is None or self.batch.joints.shape != shape:
            self.seen[shape] += 1
            return self._call_aside(batch, weight)
        for held, given in ((self.batch.joints, batch.joints), (self.batch.present, batch.present), (self.batch.label, batch.label)):
            held.copy_(given)
        self.weight.copy_(weight)
        self.graph.replay()
        logits, losses = self.learned
        return logits.clone(), losses.clone()

    def _capture(self, batch: ClipBatch, weight: Tensor) -> None:
        self.batch = ClipBatch(batch.sample, batch.joints.clone(), batch.present.clone(), batch.label.clone())
        self.weight = weight
        for each in self.weights:
            if each.grad is None:  # or the graph would set it where it should add to it
                each.grad = torch.zeros_like(each)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.learned = self.learn(self.batch, self.weight)

    def _call_aside(self, batch: ClipBatch, weight: Tensor) -> Learned:
        """On a stream of its own, as a graph is captured."""
        here = torch.cuda.current_stream()
        self.aside.wait_stream(here)
        with torch.cuda.stream(self.aside):
            learned = self.learn(batch, weight)
        here.wait_stream(self.aside)
        return learned
