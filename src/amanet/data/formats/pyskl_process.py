"""The process that reads a PYSKL pickle: with a bound on its memory and time, and unable to write a file.

It is started by :mod:`amanet.data.formats.pyskl` as ``python -P -m amanet.data.formats.pyskl_process FILE BYTES SECONDS`` and writes
messages to its output: eight bytes of length, a JSON object, and as many bytes of numbers as its field ``bytes`` says. First comes a
summary of all annotations, then a message for each. It imports little, so that the bound is left to the pickle.
"""

import json
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from amanet.data.formats.pickled_arrays import ArrayUnpickler, PickledArray, RefusedPickleError
from amanet.errors import FormatError

OUT_OF_MEMORY = 77
"""Exit status of a reader that was given too little memory."""
EXPECTED = "a dict of 'split' and 'annotations', or a list of annotations, as PYSKL writes them"
NEEDED = ("frame_dir", "label", "total_frames", "keypoint")
LARGEST_LABEL = 100_000


def main(path: Path, memory: int, seconds: int) -> None:
    """Reads the pickle under these bounds, in bytes and seconds of the processor, and writes what is in it to the output."""
    for kind, bound in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (bound, bound))
    try:
        for message, numbers in read_annotations(path):
            _send(message, numbers)
    except FormatError as error:
        _send({"problem": error.problem, "expected": error.expected, "got": error.got, "cure": error.cure})
    except (MemoryError, RecursionError):
        sys.exit(OUT_OF_MEMORY)


def read_annotations(path: Path) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The summary of all annotations, and then each with its numbers.

    Raises:
        FormatError: no pickle of annotations.
        MemoryError: it takes more than this process may have.
    """
    splits, annotations = _parts(_unpickle(path))
    for place, annotation in enumerate(annotations):
        _check(annotation, place)
    yield {"splits": splits, **_summary(annotations)}, b""
    for annotation in annotations:
        places = annotation["keypoint"].values.astype("<f4")
        score = annotation.get("keypoint_score")
        if score is not None:
            places = np.concatenate([places, score.values.astype("<f4")[..., None]], axis=-1)
        facts = {"sample": annotation["frame_dir"], "label": annotation["label"], "picture": annotation.get("img_shape")}
        yield {**facts, "shape": places.shape}, places.tobytes()


def _unpickle(path: Path) -> object:
    with path.open("rb") as file:
        try:
            return ArrayUnpickler(file).load()
        except RefusedPickleError as error:
            raise FormatError(
                f"this pickle holds {error}, which no annotation needs",
                expected="plain values and arrays of numbers alone",
                cure="do not open it with anything else: such a name can run any program; ask who made the file",
            ) from error
        except (MemoryError, RecursionError):
            raise
        except Exception as error:  # a damaged pickle ends in any of Python's errors
            raise FormatError(f"this is no complete pickle ({type(error).__name__})", expected=EXPECTED) from error


def _parts(found: object) -> tuple[dict[str, list[str]], list[dict[str, Any]]]:
    """The splits and the annotations of either form."""
    splits: object = {}
    if isinstance(found, dict):
        if not {"split", "annotations"} <= found.keys():
            raise FormatError("this pickle holds no annotations", expected=EXPECTED, got="a dict of other keys")
        splits, found = found["split"], found["annotations"]
    if not isinstance(found, list) or not found or not all(isinstance(each, dict) for each in found):
        raise FormatError("this pickle holds no annotations", expected=EXPECTED, got=f"a {type(found).__name__}")
    if not isinstance(splits, dict) or not all(
        isinstance(name, str) and isinstance(members, list | tuple) and all(isinstance(each, str) for each in members)
        for name, members in splits.items()
    ):
        raise FormatError("the splits are none", expected="a dict: name of a split to its list of names of clips")
    return {name: list(members) for name, members in splits.items()}, found


def _check(annotation: Mapping[Any, Any], place: int) -> None:
    """Refuse an annotation whose fields are missing or of another kind; its numbers are looked at by who started this process."""
    missing = [name for name in NEEDED if name not in annotation]
    if missing:
        packed = "raw_file" in annotation
        cure = "join its raw files into one pickle, as PYSKL's documents say" if packed else None
        raise FormatError(f"annotation {place} lacks {', '.join(missing)}", expected=", ".join(NEEDED), cure=cure)
    sample, label, frames = (annotation[name] for name in NEEDED[:3])
    places, score, picture = (annotation.get(name) for name in ("keypoint", "keypoint_score", "img_shape"))
    shape = _shape(places)
    rules = {
        "frame_dir is no name": isinstance(sample, str) and 0 < len(sample) <= 1000,
        "label is no class": type(label) is int and 0 <= label < LARGEST_LABEL,
        "keypoint is no array (body, frame, joint, coord)": len(shape) == 4 and all(shape) and _is_float(places),
        "total_frames is not the length of keypoint": type(frames) is int and shape[1:2] == (frames,),
        "keypoint_score is no array (body, frame, joint)": score is None or (_shape(score) == shape[:3] and _is_float(score)),
        "img_shape is no height and width": picture is None or _is_size(picture),
    }
    for problem, holds in rules.items():
        if not holds:
            name = ascii(sample[:80]) if isinstance(sample, str) else ""
            raise FormatError(f"annotation {place} {name}: {problem}", got=f"keypoint of shape {shape}")


def _shape(array: object) -> tuple[int, ...]:
    return array.values.shape if isinstance(array, PickledArray) and array.values is not None else ()


def _is_float(array: object) -> bool:
    return isinstance(array, PickledArray) and array.values is not None and array.values.dtype.kind == "f"


def _is_size(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(type(each) is int and 0 < each <= 1 << 20 for each in value)


def _summary(annotations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all annotations have in common, so that a writer can begin with the first."""
    kinds = {(*_shape(each["keypoint"])[2:], each.get("keypoint_score") is not None) for each in annotations}
    if len(kinds) > 1:
        got = "; ".join(f"{joints} joints of {coords} numbers" for joints, coords, _ in sorted(kinds))
        raise FormatError("the annotations are of several skeletons", expected="one for all", got=got)
    joints, coords, scored = next(iter(kinds))
    labels = sorted({each["label"] for each in annotations})
    bodies = max(_shape(each["keypoint"])[0] for each in annotations)
    return {"clips": len(annotations), "joints": joints, "coords": coords, "scored": scored, "labels": labels, "bodies": bodies}


def _send(message: Mapping[str, Any], numbers: bytes = b"") -> None:
    text = json.dumps({**message, "bytes": len(numbers)}).encode()
    for part in (len(text).to_bytes(8, "little"), text, numbers):
        sys.stdout.buffer.write(part)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
