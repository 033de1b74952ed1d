"""Scores of a network on a part of a store, over one process or several, every clip counted once."""

from collections.abc import Iterable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from amanet.errors import TrainingError, first_of
from amanet.experiment import Experiment
from amanet.metrics import Scores
from amanet.skeleton import ClipBatch
from amanet.system.countdown import Countdown
from amanet.trained import NetworkCard

QUIET_SECONDS = 5.0
"""Scoring that is done by then is not counted down."""


@torch.inference_mode()
def score_clips(
    fabric: Fabric,
    network: nn.Module,
    batches: Iterable[ClipBatch],
    class_names: tuple[str, ...],
    source: dict[str, str],
    samples: list[str],
) -> Scores:
    """Logits of every clip of the batches of all processes, in the order of their names.

    Args:
        fabric: the devices.
        network: gives logits of joints and presence.
        batches: this process's share of the part.
        class_names: of the network.
        source: what the scores are of.
        samples: all names of the part, over all processes, in rising order.

    Raises:
        TrainingError: a score is not finite, so the weights have run away.
    """
    was_training = network.training
    network.eval()
    place = {sample: row for row, sample in enumerate(samples)}
    rows: list[Tensor] = []
    labels: list[Tensor] = []
    logits: list[Tensor] = []
    with Countdown("scoring", len(samples), unit="clips", quiet=QUIET_SECONDS, visible=fabric.global_rank == 0) as countdown:
        for batch in batches:
            batch = batch.to(fabric.device, non_blocking=True)
            logits.append(network(batch.joints, batch.present).float())
            labels.append(batch.label)
            rows.append(torch.tensor([place[sample] for sample in batch.sample], device=fabric.device))
            countdown.advance(len(batch.sample) * fabric.world_size)  # each process scores as many, give or take one a batch
    network.train(was_training)
    length, device = len(samples), fabric.device
    all_logits = _gather(fabric, rows, logits, torch.zeros(length, len(class_names), dtype=torch.float64, device=device))
    _refuse_not_finite(all_logits, samples)
    all_labels = _gather(fabric, rows, labels, torch.zeros(length, dtype=torch.int64, device=device))
    return Scores(tuple(samples), all_labels.numpy(), all_logits.float().numpy(), class_names, source)


def _refuse_not_finite(logits: Tensor, samples: list[str]) -> None:
    bad = (~logits.isfinite().all(-1)).nonzero().flatten().tolist()
    if bad:
        cure = "train with a lower recipe.learning_rate, or look at these clips with amanet show"
        raise TrainingError(f"the scores of {len(bad)} clips are not finite", got=first_of([samples[row] for row in bad]), cure=cure)


def score_source(experiment: Experiment, card: NetworkCard, part: str) -> dict[str, str]:
    """What scores are of, as fusion compares it."""
    return {"benchmark": experiment.benchmark, "part": part, "stream": card.stream, "layout": card.layout.name}


def _gather(fabric: Fabric, rows: list[Tensor], values: list[Tensor], whole: Tensor) -> Tensor:
    """Values of all processes put to their rows; each row is filled by exactly one process, so their sum is the whole."""
    if values:
        whole[torch.cat(rows)] = torch.cat(values).to(whole.dtype)
    if fabric.world_size > 1:
        torch.distributed.all_reduce(whole)
    return whole.cpu()
