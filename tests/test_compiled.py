"""Compiled loops where nothing can be written, and where others have written before."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import amanet


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
