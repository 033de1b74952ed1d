"""Being stopped: what signals do, and when."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType


class StopRequest:
    """Within a ``with``, Ctrl-C and SIGTERM only set ``asked``; a second one stops at once.

    Args:
        on_ask: called when a stop is first asked for.
    """

    def __init__(self, on_ask: Callable[[], None]) -> None:
        self.asked = False
        self._on_ask = on_ask
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType] (what signal.signal gave)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self._on_ask()


@contextmanager
def termination_interrupts() -> Iterator[None]:
    """Within it SIGTERM is what Ctrl-C is, so that what was begun is ended and cleaned up.

    A thread other than the main one hears neither.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Ctrl-C and SIGTERM come at the end of the block. Processes started within never hear a Ctrl-C: it is for this one to end them.

    In a thread other than the main one, which hears none, nothing is to be done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.signal(number, lambda number, _: came.append(number)) for number in numbers]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # what the processes inherit; other threads hear it all the same
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])
