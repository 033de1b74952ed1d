"""The road of a user in small: people acting, a store of them, a run, all made through the command line."""

from dataclasses import dataclass
from pathlib import Path

from amanet.cli import main

TRAINING = (
    *("--benchmark", "ntu60-xsub", "--network.width", "6", "--network.block.windows", "[3]", "--sampling.frames", "12"),
    *("--sampling.fit", "resize", "--recipe.epochs", "1", "--recipe.milestones", "[]", "--recipe.batch_size", "2"),
    *("--recipe.micro_batch", "2", "--accelerator", "cpu"),
)
"""Flags of the shortest training."""


@dataclass(frozen=True)
class Road:
    """Where the things on the way are: two actions by performers 1 (training) and 3 (test)."""

    raw: Path
    store: Path
    run: Path

    def raw_file(self, performer: int, action: int) -> Path:
        """One of the four clips."""
        return self.raw / f"S001C002P{performer:03}R001A{action:03}.skeleton"


def walk_road(folder: Path) -> Road:
    """Synthesize, prepare and train, each by its verb."""
    road = Road(folder / "raw", folder / "store", folder / "run")
    steps = [
        ["synthesize", road.raw, "--actions", "[1,7]", "--performers", "[1,3]", "--cameras", "[2]", "--replications", "1"],
        ["prepare", "ntu60", road.store, road.raw, "--workers", "1"],
        ["train", road.run, "--store", road.store, *TRAINING],
    ]
    for step in steps:
        assert main([str(argument) for argument in step]) == 0, step
    return road
