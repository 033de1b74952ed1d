"""Compiled loops where nothing can be written, and where others have written before."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numba import config

import amanet
from amanet.loops.compiled import compiled
from amanet.loops.kept_code import _Files


def test_loops_compile_where_there_is_no_folder_to_keep_them(tmp_path: Path) -> None:
    """A file stands where numba would make each of its folders, which stops even an administrator."""
    package = tmp_path / "src" / "amanet"
    shutil.copytree(Path(amanet.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in (package / "model", package / "data" / "formats"):
        (folder / "__pycache__").touch()
    (tmp_path / "home").touch()
    home = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home"), "PYTHONPATH": str(package.parent)}
    code = (
        "import amanet, torch; from amanet.model.normalisation import BatchNorm; import amanet.data.formats.ntu_scanner;"
        "print(amanet.__file__); print(float(BatchNorm(3)(torch.arange(12.0).view(2, 2, 3)).std()))"
    )
    environment = {**os.environ, **home, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    where, deviation = done.stdout.split()
    assert Path(where).is_relative_to(tmp_path)
    assert 1.0 < float(deviation) < 1.1


def test_machine_code_that_was_kept_gives_the_same_bits(tmp_path: Path) -> None:
    """A process that compiles everything, which it says once, and one that finds all of it kept."""
    code = """
import hashlib, logging, torch
from amanet.model import Network, NetworkConfig
from amanet.model.normalisation import BatchNorm
from amanet.skeleton import load_layout
logging.basicConfig(level="INFO", format="%(message)s")
torch.manual_seed(0)
network = Network(NetworkConfig(width=24), load_layout("sbu15"), 5, 1)
for norm in network.modules():
    if isinstance(norm, BatchNorm):
        torch.nn.init.normal_(norm.weight)
joints = torch.randn(1, 1, 24, 15, 3)
network(joints).square().sum().backward()
print(hashlib.sha256(b"".join(weight.grad.numpy().tobytes() for weight in network.parameters())).hexdigest())
"""

    def digest() -> tuple[str, list[str]]:
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout, [line for line in done.stderr.splitlines() if line.startswith("compiling")]

    (compiled, (_,)), (found, remarks) = digest(), digest()
    assert compiled == found
    assert not remarks


def test_a_loop_is_compiled_again_when_one_that_it_calls_has_changed(tmp_path: Path) -> None:
    package = tmp_path / "amanet"
    shutil.copytree(Path(amanet.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    inner = "from amanet.loops.compiled import compiled\n\n@compiled\ndef inner(x):\n    return x + {}\n"
    (package / "outer.py").write_text(
        "from amanet.loops.compiled import compiled\nfrom amanet.inner import inner\n\n@compiled\ndef outer(x):\n    return inner(x)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "kept")}
    code = "from amanet.outer import outer; print(outer(1), sum(outer.stats.cache_hits.values()))"
    found = []
    for added in (1, 1, 5):
        (package / "inner.py").write_text(inner.format(added))
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        found.append(done.stdout.split())
    assert found == [["2", "0"], ["2", "1"], ["6", "0"]]


def test_code_that_two_processes_keep_at_once_is_never_that_of_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other, third = (_Files(str(tmp_path), "loop", "stamp") for _ in range(3))
    one.save("float32", ["one"])
    index = (tmp_path / "loop.nbi").read_bytes()
    monkeypatch.setattr(other, "_load_index", dict)  # it had looked before the first one wrote
    other.save("float64", ["other"])
    assert third.load("float32") is None
    assert third.load("float64") == ["other"]
    (tmp_path / "loop.nbi").write_bytes(index)  # or the first one's index comes last
    assert third.load("float32") == ["one"]
    assert third.load("float64") is None


def test_code_that_no_index_names_is_deleted_once_it_is_old(tmp_path: Path) -> None:
    def code() -> set[Path]:
        return set(tmp_path.glob("*.nbc"))

    other = _Files(str(tmp_path), "loop2", "stamp")
    other.save("float32", ["other"])
    _Files(str(tmp_path), "loop", "old").save("float32", ["old"])
    for path in code():
        os.utime(path, (0, 0))
    of_other = set(tmp_path.glob("loop2.*.nbc"))
    new = _Files(str(tmp_path), "loop", "new")
    new.save("float32", ["new"])
    assert len(code() - of_other) == 1
    assert of_other < code()
    _Files(str(tmp_path), "loop", "newer").save("float32", ["newer"])
    assert len(code() - of_other) == 2  # what was young another process may be about to name
    assert other.load("float32") == ["other"]


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
@pytest.mark.parametrize("damage", [lambda whole: b"", lambda whole: whole[: len(whole) // 2], lambda whole: whole[:-50] + bytes(50)])
def test_kept_code_that_is_damaged_is_compiled_again(
    suffix: str, damage: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))

    def answer(x: int) -> int:
        return x + 41

    def hits() -> int:
        code: Any = compiled(answer)
        assert code(1) == 42
        return sum(code.stats.cache_hits.values())

    assert [hits(), hits()] == [0, 1]
    (kept,) = tmp_path.rglob(f"*{suffix}")
    kept.write_bytes(damage(kept.read_bytes()))
    assert [hits(), hits()] == [0, 1]


def test_a_full_disk_costs_no_more_than_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(_Files, "_open_for_write", full)
    code: Any = compiled(lambda x: x + 1)
    assert code(1) == 2
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
