"""What a network costs, against a count by hand of every matrix product and convolution."""

import re
import subprocess
import sys
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from amanet import new_dataset
from amanet.arguments import function_arguments
from amanet.cost import PEAK_RESET, Cost, cost, count_operations, report, settings_of, three_digits
from amanet.data.benchmark import Benchmark
from amanet.data.published import get_benchmark
from amanet.errors import ExperimentError, LayoutError
from amanet.experiment import Experiment, from_plain, write_experiment
from amanet.model import BlockConfig, Network, NetworkConfig, linear
from amanet.model.pieces import NUMBERS_AT_ONCE
from amanet.skeleton import load_layout
from amanet.skeleton.layout import LAYOUT_FOLDER

CONFIGS = sorted(Path(__file__).parents[1].glob("configs/*.yaml"))
TINY = NetworkConfig(width=6, dp="none", block=BlockConfig(windows=(3,)))


def product(rows: int, inner: int, columns: int) -> int:
    """Operations of a matrix product, two a multiply-add."""
    return 2 * rows * inner * columns


def aligned(numbers: int) -> int:
    return ceil(numbers / 8) * 8


def by_hand(bodies: int, frames: int, joints: int, num_classes: int, width: int, group: int, windows: tuple[int, ...]) -> int:
    """Operations of a forward pass of one clip through AMANet without DP, added up from the equations.

    Where two linear maps in a row are one, the product of their weights counts too; so do the frames that the last window of a piece shares
    with the first of the next. The keys that fill up a register, masked, do not count.
    """
    total, length = 0, frames
    for block, (wide, out) in enumerate(((3, width), (width, 2 * width), (2 * width, 4 * width))):
        middle, stride, inner = (width if block == 0 else wide), (1 if block == 0 else 2), (out if block == 0 else wide)
        kept = ceil(length / stride)
        tokens, kept_tokens = bodies * length * joints, bodies * kept * joints

        sfem = product(tokens, wide, middle)
        if wide < middle:  # V widens: the features and a channel of ones are mixed, and mapped after it
            beside = aligned(wide + 1)
            sfem += product(beside, wide, beside) + product(tokens, beside, beside + middle) + product(tokens, joints, 2 * beside)
            sfem += product(middle, middle, wide)
        else:
            sfem += product(wide, wide, wide) + product(tokens, wide, wide + middle) + product(tokens, joints, wide + middle)
        grouped = bodies * ceil(length / group) * group * joints
        ff = product(middle, middle, middle) + product(tokens, middle, middle) + 2 * product(grouped, group, middle)
        turns = ceil(group / 5)  # four frames of five taps each take eight products
        ff += turns * (product(8, 5, middle * middle) + 8 * product(bodies * ceil(length / 4) * joints, middle, middle))
        ff += product(group * middle, middle, middle) + product(min(group - 1, length), group, middle)  # frames that not all taps reach
        jf = product(middle, middle, middle) + product(kept_tokens, middle, middle)
        jf += 2 * product(kept_tokens, length, middle)
        jf += product(out, middle, middle)
        jf += product(kept_tokens, middle, out) * (1 if middle == out and stride == 1 else 2)  # Theta, and the residual where it widens
        branch = out // 6
        ms_tcn = product(kept_tokens, out, 5 * branch) + 4 * product(kept_tokens, 3 * branch, branch) + product(kept_tokens, out, branch)
        stfem = 0
        for window in windows:
            window_tokens = kept_tokens * window
            keys = aligned(window * joints)
            piece = max(1, NUMBERS_AT_ONCE // (keys * max(keys, inner)))  # windows whose maps are made together
            pieces = [min(piece, kept - start) for start in range(0, kept, piece)]
            mapped_tokens = bodies * joints * sum((each - 1) * stride + ceil(keys / joints) for each in pieces)
            last = bodies * min(length, window - 1) * joints
            beside = aligned(wide + 1)
            stfem += product(inner, inner, beside)
            if wide < inner:
                stfem += product(beside, wide, beside) + product(mapped_tokens, wide + 1, beside + inner)
                stfem += product(window_tokens, window * joints, 2 * beside) + product(window_tokens, beside, inner)
            else:
                stfem += product(wide, wide, wide) + product(1, wide, wide) + product(last, beside, 1)
                stfem += product(mapped_tokens, wide + 1, wide + 2 * inner) + product(window_tokens, window * joints, wide + inner)
            stfem += product(kept_tokens, window * inner, out)
        total += sfem + ff + jf + 2 * ms_tcn + stfem
        length = kept
    return total + product(1, 4 * width, num_classes)


@pytest.mark.parametrize(
    ("frames", "width", "windows", "layout", "bodies"),
    [
        (20, 6, (3,), "ntu25", 1),
        (21, 6, (3, 5), "ntu25", 2),
        (23, 12, (1,), "kinect20", 2),
        (70, 6, (3,), "sbu15", 1),
        (140, 6, (5,), "ntu25", 1),
    ],
)
@pytest.mark.parametrize("ours", [True, False])
def test_operations_are_those_counted_by_hand(
    frames: int, width: int, windows: tuple[int, ...], layout: str, bodies: int, ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether matrix products are ours or PyTorch's."""
    monkeypatch.setattr(linear, "OURS_ARE_FASTER", ours)
    """Lengths that stride and group divide or not; above 64 frames or tokens the fused attention counts as its two products."""
    skeleton = load_layout(layout)
    config = NetworkConfig(width=width, dp="none", block=BlockConfig(windows=windows))
    found = count_operations(Network(config, skeleton, 7, bodies), torch.randn(1, bodies, frames, skeleton.num_joints, 3))
    assert found["all"] == by_hand(bodies, frames, skeleton.num_joints, 7, width, config.block.group, windows)


def test_the_parts_add_up() -> None:
    found = count_operations(Network(TINY, load_layout("ntu25"), 7, 1), torch.randn(1, 1, 20, 25, 3))
    blocks = {name: flops for name, flops in found.items() if name.count(".") == 1}
    assert list(blocks) == ["blocks.0", "blocks.1", "blocks.2"]
    assert sum(blocks.values()) + product(1, 24, 7) == found["all"]
    for block, flops in blocks.items():
        parts = {name: part for name, part in found.items() if name.startswith(f"{block}.")}
        slots = {name.removeprefix(f"{block}.") for name in parts}
        assert slots == {"path.sfem", "path.ff", "path.jf", "path.ms_tcn", "windows.stfem", "tail"}
        assert sum(parts.values()) == flops


def test_operations_grow_with_clips_and_bodies() -> None:
    network = Network(TINY, load_layout("ntu25"), 7, 2)
    one, two, three = (count_operations(network, torch.randn(clips, 2, 12, 25, 3))["all"] for clips in (1, 2, 3))
    assert two > 1.9 * one
    assert three - two == two - one  # products of weights with weights come once


def test_what_cost_finds_and_reports() -> None:
    found = cost(TINY, num_classes=7, bodies=1, frames=12, batch=2, repeats=1)
    network = Network(TINY, load_layout("ntu25"), 7, 1)
    assert found.parameters == sum(weight.numel() for weight in network.parameters())
    assert found.flops["all"] == by_hand(1, 12, 25, 7, 6, 5, (3,))
    assert found.batch == 2
    assert min(found.inference, found.training, found.ceiling) > 0
    text = report(found)
    assert f"{found.parameters:,} parameters" in text
    assert all(name in text for name in found.flops if name != "all")
    told = {name: float(number) for name, number in re.findall(r"^ +(blocks\S+) +([\d.]+) ", text, re.MULTILINE)}
    told["all"] = float(text.splitlines()[1].partition(" GFLOP a clip")[0])
    assert {name: 1e9 * number for name, number in told.items()} == pytest.approx(found.flops, rel=0.005)
    assert "epochs" not in text


@pytest.mark.parametrize(
    ("number", "said"), [(0.0, "0"), (0.000123456, "0.000123"), (0.0996, "0.0996"), (1.0, "1.00"), (37.58, "37.6"), (1234.5, "1,234")]
)
def test_three_digits_are_told_of_operations(number: float, said: str) -> None:
    assert three_digits(number) == said


def test_what_a_whole_training_takes() -> None:
    flops = {"all": 1e9}
    found = Cost(1, flops, inference=1.0, training=8.0, memory=None, batch=16, bodies=2, ceiling=1e12, clips=40_091, epochs=50)
    assert found.whole_training == 50 * 40_091 * 0.5
    assert report(found).splitlines()[-1] == "50 epochs of 40,091 clips take 278 h where each has 2 bodies, besides scoring"


def arguments(path: Path, *flags: str) -> dict[str, Any]:
    return function_arguments("cost", cost, ["--config", str(path), *flags], settings_of)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_settings_of_an_experiment_say_what_to_count(path: Path, tmp_path: Path) -> None:
    """As they do to a training: with a store, its experiment."""
    plain = {**yaml.safe_load(path.read_text()), "store": str(tmp_path)}
    experiment: Experiment = from_plain(Experiment, plain, path)
    benchmark = get_benchmark(experiment.benchmark)
    assert isinstance(benchmark, Benchmark)
    found = arguments(path, "--repeats", "1")
    assert found == {
        "network": experiment.network,
        "layout": benchmark.dataset.layout,
        "num_classes": benchmark.dataset.num_classes,
        "bodies": experiment.sampling.bodies,
        "frames": experiment.sampling.frames,
        "batch": experiment.recipe.micro_batch,
        "stream": "joint",
        "repeats": 1,
        "clips": benchmark.num_train,
        "epochs": experiment.recipe.epochs,
    }
    assert arguments(path, "--frames", "8", "--network.width", "6")["network"] == replace(experiment.network, width=6)
    assert arguments(path, "--frames", "8")["frames"] == 8
    write_experiment(experiment, tmp_path / "experiment.yaml")
    assert arguments(tmp_path / "experiment.yaml", "--repeats", "1") == found


def test_what_settings_of_ones_own_do_not_say_is_remarked(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    config = Path(new_dataset.__file__).parent / "example" / "config.yaml"
    found = arguments(config, "--layout", "coco17", "--clips", "72")
    assert (found["layout"], found["clips"], found["frames"], found["epochs"]) == ("coco17", 72, 32, 16)
    assert "--layout, --num_classes and --clips" in caplog.text
    (tmp_path / "config.yaml").write_text("benchmark: own\nsampling: {frame: 3}\n")
    with pytest.raises(ExperimentError, match="frame"):
        arguments(tmp_path / "config.yaml")


@pytest.mark.skipif(not PEAK_RESET.exists(), reason="only Linux tells a process its peak memory")
def test_memory_of_a_step() -> None:
    """In a new process, as an old one has memory at hand."""
    sizes = ["--network.width", "24", "--frames", "200", "--batch", "4", "--repeats", "1"]
    done = subprocess.run([sys.executable, "-m", "amanet", "cost", *sizes], capture_output=True, text=True, check=True)
    found = re.search(r"a training step takes (\d+\.\d\d) GiB", done.stdout)
    assert found
    features = 4 * 2 * 200 * 25 * 24 * 4 / 2**30  # of one block, in float32
    assert 20 * features < float(found[1]) < 400 * features


def test_learned_weights_are_counted() -> None:
    learned = NetworkConfig(width=6, dp="none", block=BlockConfig(windows=(3,), learn_weights=True))
    counts = [cost(config, num_classes=7, bodies=1, frames=12, batch=1, repeats=1).parameters for config in (TINY, learned)]
    assert counts[1] == counts[0] + 6  # alpha and beta of three blocks


def test_a_skeleton_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes((LAYOUT_FOLDER / "sbu15.toml").read_bytes())
    found = cost(TINY, layout=str(path), num_classes=8, bodies=2, frames=10, batch=1, repeats=1)
    assert found.flops["all"] == by_hand(2, 10, 15, 8, 6, 5, (3,))
    with pytest.raises(LayoutError, match="ntu26"):
        cost(TINY, layout="ntu26")


@pytest.mark.parametrize("name", ["num_classes", "bodies", "frames", "batch", "repeats", "clips", "epochs"])
@pytest.mark.parametrize("size", [0, -3])
def test_sizes_below_one_are_refused(name: str, size: int) -> None:
    sizes: dict[str, Any] = {name: size}
    with pytest.raises(ExperimentError, match=f"with this {name}"):
        cost(TINY, **sizes)
