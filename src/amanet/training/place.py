"""How far a training has come, and how that stands in its states."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from amanet.training.step import StepSum


@dataclass
class Place:
    """How far a run has come: the next batch of the next epoch, and what this epoch has summed up so far."""

    epoch: int = 0
    batch: int = 0
    steps: int = 0
    loss: float = 0.0
    correct: float = 0.0
    clips: float = 0.0
    records: list[dict[str, Any]] = field(default_factory=list)

    def to_state(self) -> dict[str, Any]:
        """As it stands in a training state."""
        return {**asdict(self), "records": json.dumps(self.records)}

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> "Place":
        """What :meth:`to_state` gave; ValueError or its like where that is no place in a training."""
        place = cls(**{**state, "records": json.loads(state["records"])})
        counts, sums = (place.epoch, place.batch, place.steps), (place.loss, place.correct, place.clips)
        if not all(type(count) is int and count >= 0 for count in counts) or not all(type(each) is float for each in sums):
            raise ValueError("a training has come so many epochs, batches and steps")
        if not isinstance(place.records, list) or not all(isinstance(each, dict) for each in place.records):
            raise ValueError("a training has records of its epochs")
        return place

    def count(self, step: StepSum) -> None:
        """Sum up another batch."""
        self.batch += 1
        self.steps += 1
        self.loss += step.loss
        self.correct += step.correct
        self.clips += step.clips

    def next_epoch(self) -> None:
        """Begin another epoch."""
        self.epoch += 1
        self.batch = 0
        self.loss = self.correct = self.clips = 0.0
