"""What the readers of clip files give: numbers, and the lines they stood in."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int

from amanet.data.clip_size import check_size

Body = TypeVar("Body", bound=Hashable)


@dataclass(frozen=True)
class ClipNumbers:
    """The numbers of a clip, NaN where a joint is absent.

    Attributes:
        numbers: as they stand in the file, from frame to frame and body to body.
        lines: the line of each body in each frame, where the file has lines; 0 where a body is absent.
    """

    numbers: Float[np.ndarray, "body frame joint number"]
    lines: Int[np.ndarray, "body frame"] | None = None

    def line(self, body: int, frame: int) -> int | None:
        """Where a body of a frame stands in the file."""
        return None if self.lines is None else int(self.lines[body, frame])


def gather(rows: Mapping[tuple[Body, int], tuple[int, list[float]]], frames: int, joints: int, path: Path) -> ClipNumbers:
    """The numbers of rows that each hold one body in one frame; bodies are ordered as they appear.

    Args:
        rows: line and numbers by body and frame.
        frames: length of the clip.
        joints: how many each row has.
        path: for errors.

    Raises:
        FormatError: too many bodies, frames or numbers to be one clip.
    """
    place: dict[Body, int] = {}
    for body, _ in rows:
        place.setdefault(body, len(place))
    width = len(next(iter(rows.values()))[1]) if rows else 0
    check_size(len(place), frames, width, path)
    numbers = np.full((len(place), frames, width), np.nan)
    lines = np.zeros((len(place), frames), dtype=np.int64)
    for (body, frame), (line, row) in rows.items():
        numbers[place[body], frame] = row
        lines[place[body], frame] = line
    return ClipNumbers(numbers.reshape(len(place), frames, joints, -1 if width else 0), lines)
