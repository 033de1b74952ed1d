"""What every test may ask for."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import distributed

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real clips and golden values beside the checkout; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the folder `shared` with real clips and golden values is not beside this checkout")
    return SHARED


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[None]:
    """A group of processes, of which this one is all."""
    distributed.init_process_group("gloo", init_method=(tmp_path / "meeting").as_uri(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tiny networks are faster on one thread, and a process started by a test sums in the same order as the test itself."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
