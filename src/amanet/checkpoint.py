"""What a run leaves behind to go on from, and the weights it hands out; both appear whole or not at all."""

import hashlib
import io
import json
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as format_tensors
from torch import Tensor

from amanet.errors import RunError

STATE_NAME = re.compile(r"state-(\d{8})-([0-9a-f]{16})\.pt")
KEPT_STATES = 2
LONGEST_HEADER = 4 * 2**20


def make_folder(path: Path) -> None:
    """Make a folder to write into, with those above it, where it is not there yet.

    Raises:
        RunError: something else is at this place, or the folder above it cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"this folder cannot be made: {error.strerror}", where=path, cure="name another place") from error


def write_file(path: Path, content: bytes) -> None:
    """Write under a temporary name, force to disk, rename: a reader never sees half a file, a full disk never costs the old one.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise RunError(
            f"a file of the run could not be written: {error.strerror}",
            where=path,
            cure="free some space or fix the folder's rights, then resume",
        ) from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True)
class StateFile:
    """A training state on disk; its name holds the optimiser steps taken and the hash of its content."""

    path: Path
    steps: int
    digest: str


class StateFolder:
    """The training states of a run: the newest two, each with its hash in its name.

    A state whose content does not match its hash (a bit flipped, the disk full, the file cut) is passed over for the one before.
    """

    def __init__(self, run: Path) -> None:
        self.run = run

    def files(self) -> list[StateFile]:
        """States on disk, oldest first."""
        matches = ((path, STATE_NAME.fullmatch(path.name)) for path in self.run.glob("state-*.pt"))
        found = [StateFile(path, int(match[1]), match[2]) for path, match in matches if match]
        return sorted(found, key=lambda state: state.steps)

    def save(self, steps: int, state: dict[str, Any]) -> Path:
        """Write a state, then remove all but the newest two."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getvalue()
        path = self.run / f"state-{steps:08d}-{_digest(content)}.pt"
        write_file(path, content)
        for old in self.files()[:-KEPT_STATES]:
            old.path.unlink()
        return path

    def load(self) -> tuple[dict[str, Any], list[Path]]:
        """The newest state that is whole, and the damaged ones passed over on the way to it.

        Raises:
            RunError: no whole state is there, or the newest one holds more than tensors and plain values.
        """
        damaged: list[Path] = []
        for file in reversed(self.files()):
            content = file.path.read_bytes()
            if _digest(content) == file.digest:
                return _parse_state(content, file.path), damaged
            damaged.append(file.path)
        raise RunError(
            "there is no training state to resume from",
            where=self.run,
            expected="a whole state-*.pt file",
            got=f"{len(damaged)} damaged" if damaged else "none",
            cure="train again into a new folder",
        )


def _parse_state(content: bytes, path: Path) -> dict[str, Any]:
    """The state in a file's content, in which nothing but tensors and plain values may stand, so that reading it runs no code."""
    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # a reader of hostile bytes raises whatever it stumbles over
        raise RunError(
            "this training state was not written by amanet, and nothing of it was run",
            where=path,
            got=str(error).partition("\n")[0],
            cure="delete it if you do not know where it came from",
        ) from error
    if not isinstance(state, dict):
        raise RunError("this training state was not written by amanet", where=path, expected="a table of values", got=type(state).__name__)
    return state


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def write_weights(path: Path, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
    """Weights as safetensors, with all that is needed to use them in the file's metadata."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_file(path, format_tensors(plain, metadata={"amanet": json.dumps(description)}))


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Weights and their description.

    Raises:
        RunError: the file is missing, damaged, or not written by this library.
    """
    try:
        _check_header(path)
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        description = json.loads(metadata["amanet"])
        if not isinstance(description, dict):
            raise ValueError("their description is no table of values")
        return parse_tensors(path.read_bytes()), description
    except (OSError, safetensors.SafetensorError, KeyError, ValueError, RecursionError) as error:
        raise RunError(
            f"these weights cannot be read: {error}", where=path, expected="weights.safetensors as amanet train writes it"
        ) from error


def _check_header(path: Path) -> None:
    """Refuse a header that is larger than any network's: reading one of 50 MB takes seconds and most of a gigabyte."""
    with path.open("rb") as file:
        prefix = file.read(8)
    length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else None
    if length is None or length > LONGEST_HEADER:
        raise ValueError(f"its header claims {length} bytes, and {LONGEST_HEADER} is the most that is read")
