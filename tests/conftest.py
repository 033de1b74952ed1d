"""What every test may ask for."""

import os
from pathlib import Path

import pytest
import torch

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real clips and golden values beside the checkout; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("the folder `shared` with real clips and golden values is not beside this checkout")
    return SHARED


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tiny networks are faster on one thread, and a process started by a test sums in the same order as the test itself."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
