"""The metrics of a run as TensorBoard events."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from amanet.errors import ExperimentError


class EventLog:
    """Writes into RUN/tensorboard; what an earlier try wrote from ``first_epoch`` on is dropped.

    Raises:
        ExperimentError: TensorBoard is not installed.
    """

    def __init__(self, run: Path, first_epoch: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ExperimentError(
                "TensorBoard is not installed", cure='pip install "amanet[tensorboard]", or leave out --tensorboard'
            ) from error
        self._writer = SummaryWriter(str(run / "tensorboard"), purge_step=first_epoch)

    def write(self, records: Iterable[dict[str, Any]]) -> None:
        """Every number of some epochs' records."""
        for record in records:
            for name, value in record.items():
                if name not in ("epoch", "part"):
                    self._writer.add_scalar(f"{record['part']}/{name}", value, record["epoch"])
        self._writer.flush()
