"""PYSKL's annotation pickles, 3-D (Kinect v2) and 2-D (COCO keypoints of HRNet, or OpenPose), as clips.

A pickle can be a program, so it is read by a process of its own that calls nothing a pickle names and has a bound on its memory and time:
:mod:`amanet.data.formats.pyskl_process`. The file holds, as PYSKL writes it::

    {"split": {"xsub_train": ["S001C001P001R001A001", ...], "xsub_val": [...]},
     "annotations": [{"frame_dir": "S001C001P001R001A001", "label": 0, "total_frames": 103, "img_shape": (1080, 1920),
                      "keypoint": array (body, frame, joint, coord), "keypoint_score": array (body, frame, joint)}, ...]}

or the list of annotations alone. A joint whose numbers are all zero, or not a number, was not seen.
"""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Float32

from amanet.data.formats import pyskl_process
from amanet.errors import FormatError, first_of
from amanet.skeleton import SkeletonClip

LAYOUTS = {(25, 3, False): "ntu25", (17, 2, True): "coco17", (18, 2, True): "kinetics18"}
"""The layout of each kind of skeleton: joints, numbers a joint, whether there is a score."""
SPLIT_NAME = re.compile(r"(?:(?P<name>[a-z0-9_]+)_)?(?P<part>train|val|test)(?P<number>\d*)", re.ASCII)
LARGEST_PLACE = 1e6


@dataclass(frozen=True)
class PysklContent:
    """What a pickle holds, before its clips are read.

    Attributes:
        layout: name of the skeleton's layout.
        num_clips: annotations in it.
        labels: the labels that occur, rising.
        max_bodies: bodies of a clip at most.
        splits: ``train`` or ``test`` of the clips of each split, by the name of its column in ``labels.csv``.
        clips: its clips in the order of the file, which can be read once; None in place of one in which nobody is seen.
    """

    layout: str
    num_clips: int
    labels: tuple[int, ...]
    max_bodies: int
    splits: Mapping[str, Mapping[str, str]]
    clips: Iterator[SkeletonClip | None]


@contextmanager
def open_pyskl(path: Path, memory: int, seconds: int) -> Iterator[PysklContent]:
    """Reads a pickle in a process that may take so many bytes of memory and seconds of the processor; it ends with the context.

    Raises:
        FormatError: no such file, no pickle, a pickle that names anything but arrays, one that takes too much, annotations that are not as
            above; while clips are read, a number that is none.
    """
    if not path.is_file():
        raise FormatError("there is no such file", where=path, expected="an annotation pickle of PYSKL")
    arguments = [sys.executable, "-P", "-m", pyskl_process.__name__, str(path), str(memory), str(seconds)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # its threads would take memory from the bound
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=environment
    ) as reader:
        try:
            messages = _messages(reader, path, memory, seconds)
            summary, _ = next(messages)
            kind = summary["joints"], summary["coords"], summary["scored"]
            if kind not in LAYOUTS:
                raise FormatError(
                    "no layout is known for this skeleton",
                    where=path,
                    expected="25 joints of x, y, z; or 17 (COCO) or 18 (OpenPose) joints of x, y with keypoint_score",
                    got=f"{kind[0]} joints of {kind[1]} numbers, {'with' if kind[2] else 'without'} keypoint_score",
                )
            yield PysklContent(
                layout=LAYOUTS[kind],
                num_clips=summary["clips"],
                labels=tuple(summary["labels"]),
                max_bodies=summary["bodies"],
                splits=_columns(summary["splits"], path),
                clips=(_clip(facts, numbers, path) for facts, numbers in messages),
            )
        finally:
            reader.kill()


def _messages(reader: "subprocess.Popen[bytes]", path: Path, memory: int, seconds: int) -> Iterator[tuple[dict[str, Any], bytes]]:
    """What the process writes, up to its end or its error."""
    stream = reader.stdout
    assert stream is not None
    while text := _exactly(stream, int.from_bytes(_exactly(stream, 8), "little")):
        message = json.loads(text)
        size = message.pop("bytes")
        numbers = _exactly(stream, size)
        if len(numbers) < size:
            break
        if "problem" in message:
            raise FormatError(message.pop("problem"), where=path, **message)
        yield message, numbers
    status = reader.wait()
    if status == pyskl_process.OUT_OF_MEMORY:
        cure = "raise the bound with --memory_gb, if you trust who made the file: it needs about twice the size of the file"
        raise FormatError("reading this pickle takes too much memory", where=path, expected=f"up to {memory / 2**30:g} GB", cure=cure)
    if status:
        raise FormatError(
            "the process that reads this pickle was ended",
            where=path,
            expected=f"reading in {seconds} s of the processor and {memory / 2**30:g} GB",
            got=f"exit status {status}",
            cure="raise the bounds with --minutes and --memory_gb, if you trust who made the file",
        )


def _exactly(stream: IO[bytes], size: int) -> bytes:
    """So many bytes; none where the stream ends before."""
    found = stream.read(size)
    return found if len(found) == size else b""


def _columns(splits: Mapping[str, list[str]], path: Path) -> dict[str, dict[str, str]]:
    """PYSKL's lists as columns of ``labels.csv``: ``xsub_train`` and ``xsub_val`` make ``split_xsub``, ``train1`` makes ``split_1``.

    Where there are ``val`` and ``test``, the first is for validation: networks choose by it, and are not judged by it.
    """
    columns: dict[str, dict[str, set[str]]] = {}
    for name, members in splits.items():
        match = SPLIT_NAME.fullmatch(name)
        if match is None:
            raise FormatError(
                "the name of a split cannot be understood", where=path, expected="names like xsub_train, val, test1", got=name[:80]
            )
        column = "_".join(part for part in ("split", match["name"], match["number"]) if part)
        columns.setdefault(column, {})[match["part"]] = set(members)
    found = {}
    for column, parts in columns.items():
        names = {"train": "train", "val": "validation" if "test" in parts else "test", "test": "test"}
        found[column] = {sample: names[part] for part, samples in parts.items() for sample in samples}
        twice = [sample for sample, times in Counter(chain(*parts.values())).items() if times > 1]
        if twice:
            raise FormatError(f"{len(twice)} clips are in two parts of {column}", where=path, got=first_of(sorted(twice)))
    return found


def _clip(facts: Mapping[str, Any], content: bytes, path: Path) -> SkeletonClip | None:
    numbers = np.frombuffer(content, "<f4").reshape(facts["shape"])
    sample = facts["sample"]
    if np.isinf(numbers).any() or (np.abs(numbers) > LARGEST_PLACE).any():
        raise FormatError(f"clip {sample} holds a number that is no place", where=path, expected=f"numbers within ±{LARGEST_PLACE:g}")
    present = ~np.isnan(numbers).any(axis=-1) & (numbers != 0).any(axis=-1)
    if numbers.shape[2] != 25:
        present &= numbers[..., 2] > 0
        numbers = _on_paper(numbers, facts, path)
    if not present.any():
        return None
    seen = present.any(axis=(1, 2))
    return SkeletonClip(sample, np.where(present[..., None], numbers, np.float32(0))[seen], present[seen], facts["label"])


def _on_paper(
    numbers: Float32[np.ndarray, "body frame joint 3"], facts: Mapping[str, Any], path: Path
) -> Float32[np.ndarray, "body frame joint 3"]:
    """Pixels, counted from the upper left corner, to heights of the picture, from its middle with y up."""
    if facts["picture"] is None:
        raise FormatError(f"annotation {facts['sample']} lacks img_shape, the picture's height and width", where=path)
    height, width = facts["picture"]
    x, y, score = np.moveaxis(numbers, -1, 0)
    return np.stack([(x - width / 2) / height, (height / 2 - y) / height, score], axis=-1).astype(np.float32)
