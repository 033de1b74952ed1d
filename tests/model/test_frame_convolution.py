"""The convolution over time by spectra of tiles, against the sum over taps that it stands for."""

import numpy as np
import pytest
import torch
from torch import Tensor

from amanet.model import pieces
from amanet.model.frame_convolution import convolve_frames

BODIES, JOINTS, IN, OUT = 3, 2, 4, 5


def draw(frames: int, taps: int, kind: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(10 * frames + taps)
    shapes = (BODIES, frames, JOINTS, IN), (taps, IN, OUT)
    features, weights = (torch.randn(shape, generator=generator, dtype=kind, requires_grad=True) for shape in shapes)
    return features, weights


def tap_by_tap(features: np.ndarray, taps: np.ndarray) -> np.ndarray:
    bodies, frames, joints, _ = features.shape
    output = np.zeros((bodies, frames, joints, taps.shape[2]))
    for frame in range(frames):
        for tap in range(len(taps)):
            seen = frame + tap - (len(taps) - 1) // 2
            if 0 <= seen < frames:
                output[:, frame] += features[:, seen] @ taps[tap]
    return output


@pytest.mark.parametrize("numbers", [pieces.NUMBERS_AT_ONCE, 300, 1], ids=["one piece", "some bodies or tiles", "a tile each"])
@pytest.mark.parametrize("taps", [1, 2, 3, 4, 5, 6, 7, 11])
@pytest.mark.parametrize("frames", [1, 3, 4, 9, 18])
def test_equals_the_sum_over_taps(frames: int, taps: int, numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "NUMBERS_AT_ONCE", numbers)
    given = [each.detach() for each in draw(frames, taps)]
    expected = tap_by_tap(*(each.numpy() for each in given))
    np.testing.assert_allclose(convolve_frames(*given).numpy(), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("frames", "taps"), [(9, 5), (3, 4), (6, 7)])
def test_gradients(frames: int, taps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "NUMBERS_AT_ONCE", 300)
    features, weights = draw(frames, taps)
    assert torch.autograd.gradcheck(convolve_frames, (features[:2, :, :, :3], weights[:, :3, :4]))


def test_rounds_little_more_than_the_sum_over_taps() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, 40, 5, 96, generator=generator).relu()
    taps = torch.randn(5, 96, 96, generator=generator) / 480**0.5
    found = convolve_frames(features, taps)
    expected = torch.from_numpy(tap_by_tap(*(each.double().numpy() for each in (features, taps))))
    assert (found - expected).norm() / expected.norm() < 2e-6


def test_takes_features_that_are_a_view() -> None:
    features, taps = draw(9, 5)
    view = features.detach().transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(convolve_frames(view, taps), convolve_frames(features, taps))
