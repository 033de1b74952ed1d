"""What a run leaves behind to go on from, and the weights it hands out; both appear whole or not at all."""

import hashlib
import io
import json
import re
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as format_tensors
from torch import Tensor

from amanet.errors import RunError, first_of
from amanet.system.places import write_file

STATE_NAME = re.compile(r"state-(\d{8})-([0-9a-f]{16})\.pt")
KEPT_STATES = 2
LONGEST_HEADER = 4 * 2**20


@dataclass(frozen=True)
class StateFile:
    """A training state on disk; its name holds the optimiser steps taken and the hash of its content."""

    path: Path
    steps: int
    digest: str


class StateFolder:
    """The training states of a run: the newest two, each with its hash in its name.

    A state whose content does not match its hash (a bit flipped, the disk full, the file cut) is passed over for the one before, and
    removed when the next one is written.
    """

    def __init__(self, run: Path) -> None:
        self.run = run

    def files(self) -> list[StateFile]:
        """States on disk, oldest first."""
        matches = ((path, STATE_NAME.fullmatch(path.name)) for path in self.run.glob("state-*.pt"))
        found = [StateFile(path, int(match[1]), match[2]) for path, match in matches if match]
        return sorted(found, key=lambda state: state.steps)

    def save(self, steps: int, state: dict[str, Any]) -> Path:
        """Write a state, then remove all but the newest two, and what is left of one that was being written when a process was killed."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        path = self.run / f"state-{steps:08d}-{_digest(content)}.pt"
        write_file(path, content)
        files = self.files()
        kept = [file for file in files if file.steps <= steps][-KEPT_STATES:]  # later ones were passed over
        for old in (*(file.path for file in files if file not in kept), *self.run.glob(".state-*.tmp")):
            with suppress(IsADirectoryError, PermissionError):  # a folder of that name is nobody's state
                old.unlink()
        return path

    def load(self) -> tuple[dict[str, Any], list[Path]]:
        """The newest state that is whole, and the damaged ones passed over on the way to it.

        Raises:
            RunError: no whole state is there, or the newest one holds more than tensors and plain values.
        """
        damaged: list[Path] = []
        for file in reversed(self.files()):
            content = _content(file.path)
            if content is not None and _digest(content) == file.digest:
                return _parse_state(content, file.path), damaged
            damaged.append(file.path)
        raise RunError(
            "there is no training state to resume from",
            where=self.run,
            expected="a whole state-*.pt file",
            got=f"{len(damaged)} damaged" if damaged else "none",
            cure="train again into a new folder",
        )


def _content(path: Path) -> bytes | None:
    """Of a file; None of one that cannot be read."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def _parse_state(content: bytes, path: Path) -> dict[str, Any]:
    """The state in a file's content, in which nothing but tensors and plain values may stand, so that reading it runs no code."""
    cure = "delete it if you do not know where it came from"
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a reader of hostile bytes raises whatever it stumbles over, and gives advice that is none here
        problem = "this training state holds more than tensors and plain values, or is none; nothing of it was run"
        raise RunError(problem, where=path, cure=cure) from error
    if not isinstance(state, dict):
        got = type(state).__name__
        raise RunError("this training state was not written by amanet", where=path, expected="a table of values", got=got, cure=cure)
    return state


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def write_weights(path: Path, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
    """Weights as safetensors, with all that is needed to use them, and a hash over both, in the file's metadata."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(description)
    write_file(path, format_tensors(plain, metadata={"amanet": text, "sha256": _seal(plain, text)}))


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and their description.

    Raises:
        RunError: the file is missing, damaged, or not written by this library, or holds numbers that are not finite.
    """
    try:
        _check_header(path)
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        text, seal = metadata["amanet"], metadata["sha256"]
        description = json.loads(text)
        if not isinstance(description, dict):
            raise ValueError("their description is no table of values")
        tensors = parse_tensors(path.read_bytes())
        if _seal(tensors, text) != seal:
            raise ValueError("a number or a word in them is not what was written")
    except (OSError, safetensors.SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise RunError(
            f"these weights cannot be read: {error}", where=path, expected="weights.safetensors as amanet train writes it"
        ) from error
    broken = sorted(name for name, tensor in tensors.items() if not tensor.isfinite().all())
    if broken:
        raise RunError(
            "these weights are not finite", where=path, got=first_of(broken), cure="train again with a lower recipe.learning_rate"
        )
    return tensors, description


def _seal(tensors: dict[str, Tensor], description: str) -> str:
    """SHA-256 over the description and, in the order of their names, the tensors."""
    digest = hashlib.sha256(description.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_header(path: Path) -> None:
    """Refuse a header that is larger than any network's: reading one of 50 MB takes seconds and most of a gigabyte."""
    with path.open("rb") as file:
        prefix = file.read(8)
    length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else None
    if length is None or length > LONGEST_HEADER:
        raise ValueError(f"its header claims {length} bytes, and {LONGEST_HEADER} is the most that is read")
