"""Annotation pickles of PYSKL in miniature, and pickles that want to do harm."""

import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

NTU_NAMES = tuple(f"S001C001P{performer:03}R001A{action:03}" for performer in (1, 2, 3, 4) for action in (1, 7))


def annotation(sample: str, label: int, *, flat: bool = False, bodies: int = 2, frames: int = 5) -> dict[str, Any]:
    """One annotation: 25 joints in metres, or 17 in pixels of a picture of 1080 by 1920; the last body leaves after a frame."""
    rng = np.random.default_rng(list(sample.encode()))
    joints, coords = (17, 2) if flat else (25, 3)
    keypoint = rng.uniform(1, 2, (bodies, frames, joints, coords)) * ([600, 400] if flat else [1, 1, 1])
    keypoint[-1, 1:] = 0
    found: dict[str, Any] = {"frame_dir": sample, "label": label, "total_frames": frames}
    if flat:
        score = rng.uniform(0.1, 1, keypoint.shape[:3]) * (keypoint[..., 0] > 0)
        found |= {"img_shape": (1080, 1920), "original_shape": (1080, 1920), "keypoint_score": score.astype(np.float16)}
    return found | {"keypoint": keypoint.astype(np.float16)}


def annotations(**options: Any) -> dict[str, Any]:
    """A whole file: four performers, two actions; performers 1 and 2 train."""
    listed = [annotation(name, int(name[-3:]) - 1, **options) for name in NTU_NAMES]
    return {"split": {"xsub_train": list(NTU_NAMES[:4]), "xsub_val": list(NTU_NAMES[4:])}, "annotations": listed}


class Call:
    """A value whose pickle calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.parts = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.parts


def call_by_name(module: str, name: str, *arguments: Any) -> bytes:
    """A pickle that calls ``module.name``, whether or not that can be imported here."""
    head = b"\x80\x02c" + f"{module}\n{name}\n".encode()
    return head + pickle.dumps(arguments, protocol=2)[2:-1] + b"R."


def gadgets(trace: Path) -> dict[str, bytes]:
    """Pickles that would leave ``trace`` behind if anything in them were called."""
    touch, code = f"touch {trace}", f"open({str(trace)!r}, 'w').close()"
    array = np.zeros(2)
    return {
        "os.system": call_by_name("os", "system", touch),
        "posix.system": call_by_name("posix", "system", touch),
        "nt.system": call_by_name("nt", "system", touch),
        "subprocess.Popen": call_by_name("subprocess", "Popen", ["touch", str(trace)]),
        "subprocess.check_output": call_by_name("subprocess", "check_output", ["touch", str(trace)]),
        "builtins.eval": call_by_name("builtins", "eval", code),
        "builtins.exec": call_by_name("builtins", "exec", code),
        "__builtin__.eval": call_by_name("__builtin__", "eval", code),
        "builtins.open": call_by_name("builtins", "open", str(trace), "w"),
        "io.open": call_by_name("io", "open", str(trace), "w"),
        "pathlib.Path": pickle.dumps(Call(Path.touch, trace)),
        "builtins.getattr": call_by_name("builtins", "getattr", "os", "system"),
        "importlib": call_by_name("importlib", "import_module", "antigravity"),
        "runpy": call_by_name("runpy", "_run_code", code, {}),
        "pickle.loads": call_by_name("pickle", "loads", call_by_name("os", "system", touch)),
        "numpy.load": call_by_name("numpy", "load", str(trace)),
        "numpy.memmap": call_by_name("numpy", "memmap", str(trace), "uint8", "w+", 0, (8,)),
        "numpy.ndarray.tofile": b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93" + pickle.dumps((array, str(trace)), 2)[2:-1] + b"R.",
        "a dotted name": b"\x80\x04\x8c\x0bcollections\x8c\x1aOrderedDict.__init__.__self\x93.",
        "torch": call_by_name("torch.serialization", "load", str(trace)),
        "functools.partial": call_by_name("functools", "partial", touch),
        "a codec": call_by_name("_codecs", "encode", "x" * 9, "zlib_codec"),
        "an extension": b"\x80\x02\x82\x01.",
        "a reference outside": b"\x80\x02X\x01\x00\x00\x00aQ.",
        "an old instance": b"(S'" + touch.encode() + b"'\nios\nsystem\n.",
        "an object array": pickle.dumps(np.array([Call(print, touch)], dtype=object), protocol=2),
        "an array of a class of its own": pickle.dumps(np.ma.zeros(3), protocol=2),
        "an array over foreign memory": call_by_name("numpy", "ndarray", (1,), "O", b"A" * 8),
    }


def bombs() -> dict[str, bytes]:
    """Small pickles that want all memory, or all time."""
    return {
        "bytes of a terabyte": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"A.",
        "a memo of a billion": b"\x80\x02Nr" + struct.pack("<I", (1 << 31) - 1) + b".",
        "a tower of lists": b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b".",
        "doubled tuples as a key": b"\x80\x02}N" + b"2\x86" * 60 + b"Ns.",
    }
