"""The whole way of the data, judged by a network of others: Shift-GCN, trained by its authors on NTU RGB+D 60, on clips that we prepare."""

from pathlib import Path

import numpy as np
import pytest
import torch

from amanet.data.dataset import ClipSampling, fit_clip
from amanet.data.store import ClipStore
from amanet.prepare import prepare
from amanet.skeleton import ClipBatch
from reference.shift_gcn import ShiftGCN, shifted_frames


@pytest.fixture(scope="module")
def store(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> ClipStore:
    return prepare("ntu60", shared / "data/ntu/raw", tmp_path_factory.mktemp("ntu") / "store", recipe="msg3d", workers=1)


@pytest.mark.parametrize("benchmark", ["xsub", "xview"])
def test_the_official_weights_name_every_real_clip(shared: Path, store: ClipStore, benchmark: str) -> None:
    weights = shared / f"data/weights/shift_gcn/ntu_ShiftGCN_joint_{benchmark}.pt"
    network = ShiftGCN().eval()
    network.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
    right = []
    for row in range(len(store)):
        batch = ClipBatch.stack([fit_clip(store.clip(row), ClipSampling(frames=300, fit="replay", bodies=2))])
        with torch.inference_mode():
            right.append(network(batch.joints).argmax(1).item() == batch.label.item())
    assert right == [True] * 12


@pytest.mark.parametrize("stride", [1, 2])
def test_the_shift_in_time_is_linear_interpolation(stride: int) -> None:
    rng = np.random.default_rng(0)
    features, shift = rng.normal(size=(1, 3, 8, 2)), np.array([1.25, -2.5, 0.0])
    found = shifted_frames(torch.from_numpy(features), torch.from_numpy(shift), stride)
    for channel in range(3):
        for joint in range(2):
            places = stride * np.arange(8 // stride) + (0.5 if stride == 2 else 0.0) + shift[channel]
            track = np.interp(places, np.arange(-3, 12), np.pad(features[0, channel, :, joint], (3, 4)))
            np.testing.assert_allclose(found[0, channel, :, joint], track, atol=1e-12)
