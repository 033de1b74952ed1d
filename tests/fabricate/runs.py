"""Tiny experiments on stores of random numbers, trained in seconds."""

import hashlib
from pathlib import Path

from safetensors import safe_open

from amanet.data.dataset import ClipSampling
from amanet.data.store import ClipStore
from amanet.experiment import Experiment, Recipe
from amanet.model import BlockConfig, NetworkConfig
from fabricate.stores import fabricate_clip, ntu_samples, write_store

TINY_SAMPLING = ClipSampling(frames=8, fit="resize", bodies=2, rotate=10.0)
TINY_NETWORK = NetworkConfig(width=6, dropout=0.2, block=BlockConfig(windows=(3,)))
TINY_RECIPE = Recipe(epochs=3, batch_size=4, micro_batch=3, learning_rate=0.05, milestones=(2,), reference_batch=4)


def tiny_store(folder: Path) -> ClipStore:
    """Three performers, two of them in training, doing five actions."""
    clips = [fabricate_clip(sample, bodies=2, frames=6 + index) for index, sample in enumerate(ntu_samples((1, 2, 3), (1, 2, 3, 4, 5)))]
    return write_store(folder / "store", clips)


def tiny_experiment(store: ClipStore, **changes: object) -> Experiment:
    """AMANet at its narrowest, for three epochs, with dropout and augmentation on."""
    settings: dict[str, object] = {"network": TINY_NETWORK, "sampling": TINY_SAMPLING, "recipe": TINY_RECIPE, **changes}
    return Experiment(benchmark="ntu60-xsub", store=store.path, **settings)  # type: ignore[arg-type]


def weights_digest(run: Path) -> str:
    """SHA-256 over all weights of a run."""
    digest = hashlib.sha256()
    with safe_open(run / "weights.safetensors", framework="np") as file:
        for name in sorted(file.keys()):
            digest.update(name.encode() + file.get_tensor(name).tobytes())
    return digest.hexdigest()
