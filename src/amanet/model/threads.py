"""Threads of a network on a CPU, and how one that has others to help it divides its work among them."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import lru_cache
from threading import Barrier, Lock
from typing import Any, TypeVar

import torch

from amanet.model.tracing import is_traced

Part = TypeVar("Part")
Found = TypeVar("Found")

_HELP: ContextVar[tuple["Pool", int] | None] = ContextVar("help", default=None)


class Pool:
    """So many threads, each of which computes PyTorch's operations by itself: PyTorch's own helpers would spin where others compute."""

    def __init__(self, number: int) -> None:
        threads = torch.get_num_threads()
        self.lock = Lock()
        self.executor = ThreadPoolExecutor(number, "amanet", initializer=_divide_nothing)
        started = Barrier(number)
        try:
            wait([self.executor.submit(started.wait) for _ in range(number)])
        except BaseException:  # as of a system that has no thread left
            started.abort()
            self.executor.shutdown(wait=False)
            raise
        finally:
            torch.set_num_threads(threads)  # a thread sets the number of threads yet to come, too, which are none of ours

    def start(self, work: Callable[[int], Found], times: int) -> list[Future[Found]]:
        """The work at so many places, as the calling thread would do it: all of them before any of another caller's.

        Those that wait for each other must not wait for a thread behind others.
        """
        inference, learns = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

        def run(place: int) -> Found:
            with torch.inference_mode(inference), torch.set_grad_enabled(learns):
                return work(place)

        with self.lock:
            return [self.executor.submit(copy_context().run, run, place) for place in range(times)]


def _divide_nothing() -> None:
    torch.get_num_threads()  # the first question sets the number that other threads begin with
    torch.set_num_threads(1)


@lru_cache(maxsize=8)
def pool(purpose: str, number: int) -> Pool:
    """So many threads for one purpose, started once."""
    return Pool(number)


def helpers(number: int) -> Pool | None:
    """So many threads that help others with parts of their work, if any."""
    return pool("parts", number) if number else None


@contextmanager
def helped_by(others: Pool | None, number: int) -> Iterator[None]:
    """Within it this thread divides its work by so many threads, itself and others of the pool."""
    token = _HELP.set(None if others is None else (others, number))
    try:
        yield
    finally:
        _HELP.reset(token)


def number_of_threads() -> int:
    """By how many this thread divides its work, itself among them."""
    found = None if is_traced() else _HELP.get()
    return 1 if found is None else found[1]


def divide(work: Callable[[Part], Any], parts: Sequence[Part]) -> None:
    """Does the work on every part, some at once; a part must need nothing that another gives, and count on no order."""
    left, helped = iter(parts), _HELP.get() if len(parts) > 1 else None

    def take_part(_: int = 0) -> None:
        token = _HELP.set(None)
        try:
            for part in left:  # Python gives each to one thread alone
                work(part)
        finally:
            _HELP.reset(token)

    futures = [] if helped is None else helped[0].start(take_part, min(helped[1], len(parts)) - 1)
    try:
        take_part()
    finally:
        wait(futures)
    for each in futures:
        each.result()
