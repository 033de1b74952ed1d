"""How large a single clip can be: what readers check before they take memory for one."""

from pathlib import Path

from amanet.errors import FormatError

MOST_BODIES = 64
MOST_FRAMES = 100_000
"""An hour at 28 frames a second."""
MOST_NUMBERS = 1 << 25
"""134 MB of float32: a clip that large is no single action."""
CROWD = 4
"""Times as many people as take part: a tracker may see some more, but where they outnumber the frames too, they are the frames."""


def most_people(frames: int, max_bodies: int) -> int:
    """How many people may be seen in a clip of so many frames in which so many take part; more are frames in the place of people."""
    return max(frames, CROWD * max_bodies)


def check_size(bodies: int, frames: int, numbers: int, path: Path) -> None:
    """Refuse what is no single clip, before memory is taken for it."""
    if bodies > MOST_BODIES or frames > MOST_FRAMES or bodies * frames * numbers > MOST_NUMBERS:
        raise FormatError(
            "this is too large to be one clip",
            where=path,
            expected=f"up to {MOST_BODIES} bodies, {MOST_FRAMES:,} frames and {MOST_NUMBERS:,} numbers",
            got=f"{bodies} bodies, {frames:,} frames and {numbers} numbers in each",
            cure="cut the recording into clips of one action each",
        )
