"""Names of classes as files may hold them: each once, and each a line of text."""

from collections import Counter
from collections.abc import Sequence


def twice(names: Sequence[str]) -> list[str]:
    """The names that stand there more than once."""
    return [name for name, count in Counter(names).items() if count > 1]


def unprintable(names: Sequence[str]) -> list[str]:
    """The names, as ASCII, that are no text without spaces around it."""
    return [ascii(name) for name in names if not name or name != name.strip() or not name.isprintable()]


def fault_of(names: Sequence[str]) -> str | None:
    """What keeps names from being those of a network's or a store's classes; None where nothing does."""
    if not names or not all(isinstance(name, str) for name in names):
        return "the names of the classes are no list of text"
    if faulty := twice(names) or unprintable(names):
        return f"the names of the classes are not each a line of text, there once: {faulty[0]}"
    return None
