"""The devices that a network computes on."""

from typing import Literal

from lightning_fabric import Fabric
from lightning_fabric.utilities.exceptions import MisconfigurationException

from amanet.errors import ExperimentError

Accelerator = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["32-true", "bf16-mixed", "64-true"]


def open_devices(accelerator: Accelerator, precision: Precision, devices: int = 1, nodes: int = 1) -> Fabric:
    """Fabric over so many devices of a kind.

    Raises:
        ExperimentError: this machine does not have them.
    """
    strategy = "ddp" if devices * nodes > 1 else "auto"
    try:
        return Fabric(accelerator=accelerator, devices=devices, num_nodes=nodes, precision=precision, strategy=strategy)
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        raise ExperimentError(
            "this machine does not have these devices",
            expected=f"{devices} of kind {accelerator}",
            got=" ".join(str(error).split()),
            cure="name others with accelerator and devices, or leave them out",
        ) from error
