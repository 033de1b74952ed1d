"""One process at a time on one thing on disk."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amanet.errors import AmanetError
from amanet.system.places import explained


@contextmanager
def alone(lock: Path, taken: AmanetError) -> Iterator[None]:
    """Holds a lock that dies with this process, however it ends; raises ``taken`` where another process holds it, or one of its kind."""
    with explained("this place cannot be written", lock, "fix the folder's rights, make room, or name another folder"):
        lock.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not lock.exists() or not os.path.samestat(lock.stat(), os.fstat(descriptor)):
            raise BlockingIOError  # its holder removed it between the two lines above
    except BlockingIOError as error:
        os.close(descriptor)
        raise taken from error
    try:
        yield
    finally:
        lock.unlink()
        os.close(descriptor)
