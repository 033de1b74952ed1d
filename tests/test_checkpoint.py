"""Weights and states: they come back as they were, and hostile ones are refused at once and run nothing."""

import hashlib
import io
import json
import pickle
import shlex
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from amanet.checkpoint import StateFolder, read_weights, write_weights
from amanet.data.dataset import ClipSampling, fit_clip
from amanet.data.normalise import get_recipe
from amanet.errors import ClipError, LayoutError, RunError
from amanet.experiment import to_plain
from amanet.model import BlockConfig, NetworkConfig
from amanet.skeleton import STREAMS, Stream, load_layout
from amanet.trained import WEIGHTS_FORMAT, NetworkCard, load_trained, save_trained
from fabricate.stores import fabricate_clip

CARD = NetworkCard(
    dataset="ntu60",
    normalisation="aligned",
    layout=load_layout("ntu25"),
    class_names=("drink water", "essen, schön"),
    max_bodies=2,
    num_bodies=2,
    stream="joint",
    network=NetworkConfig(width=6, dropout=0.5, block=BlockConfig(windows=(3,), alpha=0.25, learn_weights=True)),
    sampling=ClipSampling(frames=8, fit="resize", crop=(0.25, 0.75)),
)


@contextmanager
def refusal(path: Path, message: str = "") -> Iterator[pytest.ExceptionInfo[RunError]]:
    """The block ends in one RunError that names the file, within a second."""
    start = time.perf_counter()
    with pytest.raises(RunError, match=message) as caught:
        yield caught
    assert time.perf_counter() - start < 1
    assert str(path) in str(caught.value)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """The weights file of a tiny network."""
    torch.manual_seed(0)
    save_trained(CARD.build(), CARD, tmp_path)
    return tmp_path / "weights.safetensors"


def write_safetensors(path: Path, header: bytes, data: bytes = b"") -> None:
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


@pytest.mark.parametrize("stream", STREAMS)
def test_a_network_comes_back_as_it_was(tmp_path: Path, stream: Stream) -> None:
    card = replace(CARD, stream=stream)
    torch.manual_seed(1)
    network, joints = card.build(), torch.randn(3, 2, 8, 25, 3)
    present = torch.rand(3, 2, 8, 25) > 0.2
    network(joints, present)  # moves the statistics of BN from their start
    save_trained(network, card, tmp_path)
    again, card_again = load_trained(tmp_path)
    assert card_again == card
    assert not again.training
    with torch.inference_mode():
        assert torch.equal(again(joints, present), network.eval()(joints, present))


def test_a_weights_file_is_a_run_of_its_own(weights: Path) -> None:
    assert load_trained(weights)[1] == load_trained(weights.parent)[1] == load_trained(str(weights))[1] == CARD
    assert [file.name for file in weights.parent.iterdir()] == ["weights.safetensors"]


def test_the_command_that_is_advised_can_be_pasted_into_a_shell(tmp_path: Path) -> None:
    run = tmp_path / "a run; of mine"
    run.mkdir()
    (run / "experiment.yaml").touch()
    with pytest.raises(RunError) as caught:
        load_trained(run)
    assert shlex.split(str(caught.value.cure).partition("end it: ")[2]) == ["amanet", "train", "--resume", str(run)]


def test_raw_clips_of_any_length_become_a_batch_of_the_network() -> None:
    clips = [fabricate_clip("S001C001P001R001A001", frames=frames, bodies=bodies) for frames, bodies in ((5, 1), (30, 3))]
    batch = CARD.batch(clips)
    assert batch.joints.shape == (2, 2, 8, 25, 3)
    recipe = get_recipe("aligned")
    for row, clip in enumerate(clips):
        ready = fit_clip(recipe.apply(clip, CARD.layout, 2), CARD.sampling)
        assert torch.equal(batch.joints[row], torch.from_numpy(ready.joints))
        assert torch.equal(batch.present[row], torch.from_numpy(ready.present))
    with pytest.raises(ClipError, match="no clip to make a batch of"):
        CARD.batch([])
    with pytest.raises(LayoutError, match="not of the layout ntu25"):
        CARD.batch([fabricate_clip("a1_s1_t1_skeleton", dataset="utd-mhad")])


def test_a_run_without_weights_is_said(tmp_path: Path) -> None:
    with refusal(tmp_path, "there is no run here"):
        load_trained(tmp_path)
    with refusal(tmp_path / "nowhere", "there is no run here"):
        load_trained(tmp_path / "nowhere")


def test_a_header_of_many_empty_tensors_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    entry = '"{:08}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
    count = 53_000_000 // len(entry.format(0) + ",")
    write_safetensors(path, ("{" + ",".join(map(entry.format, range(count))) + "}").encode())
    assert path.stat().st_size > 52_000_000
    with refusal(path, "its header claims"):
        load_trained(tmp_path)


def test_the_longest_header_that_is_read_is_refused_as_fast(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    entry = '"{:08}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'
    count = 4_100_000 // len(entry.format(0) + ",")
    write_safetensors(path, ("{" + ",".join(map(entry.format, range(count))) + "}").encode())
    with refusal(path, "cannot be read"):
        load_trained(tmp_path)


@pytest.mark.parametrize("keep", [0, 4, 8, 100, 0.5, 0.999])
def test_cut_weights_are_refused(weights: Path, keep: float) -> None:
    content = weights.read_bytes()
    weights.write_bytes(content[: int(keep * len(content)) if 0 < keep < 1 else int(keep)])
    with refusal(weights, "cannot be read"):
        load_trained(weights)


@pytest.mark.parametrize("seed", range(5))
def test_garbage_is_refused(weights: Path, seed: int) -> None:
    weights.write_bytes(torch.randint(256, (10_000,), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8).numpy().tobytes())
    with refusal(weights, "cannot be read"):
        load_trained(weights)


def test_a_file_longer_than_its_tensors_is_refused_without_reading_it(weights: Path) -> None:
    with weights.open("r+b") as file:
        file.truncate(2**36)  # sparse: it takes no room on disk
    with refusal(weights, "cannot be read"):
        load_trained(weights)


class CreatesFile:
    """What unpickles into a call that leaves a trace."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_the_trap_works_on_those_who_unpickle(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(CreatesFile(tmp_path / "trace")))
    assert (tmp_path / "trace").exists()


@pytest.mark.parametrize("as_zip", [True, False])
def test_pickled_weights_are_refused_and_run_nothing(weights: Path, tmp_path: Path, as_zip: bool) -> None:
    torch.save({"weight": torch.ones(3), "trap": CreatesFile(tmp_path / "trace")}, weights, _use_new_zipfile_serialization=as_zip)
    with refusal(weights, "cannot be read"):
        load_trained(weights)
    assert not (tmp_path / "trace").exists()


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_flipped_bit_changes_weights_in_silence(weights: Path, tmp_path_factory: pytest.TempPathFactory, place: float, bit: int) -> None:
    copy = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    copy.write_bytes(content)
    with refusal(copy, "cannot be read"):
        load_trained(copy)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused_by_name(weights: Path, value: float) -> None:
    tensors, description = read_weights(weights)
    tensors["classifier.weight"][1, 2] = value
    write_weights(weights, tensors, description)
    with refusal(weights, "not finite") as caught:
        load_trained(weights)
    assert caught.value.got == "classifier.weight"


@pytest.mark.parametrize("version", [None, 0, WEIGHTS_FORMAT + 1, "1"])
def test_weights_of_another_version_are_refused(weights: Path, version: object) -> None:
    write_weights(weights, CARD.build().state_dict(), {"format": version, **to_plain(CARD)})
    with refusal(weights, "another version"):
        load_trained(weights)


@pytest.mark.parametrize("metadata", [None, {}, {"other": "1"}, {"amanet": "["}, {"amanet": "[]"}, {"amanet": "[" * 200_000}])
def test_weights_of_somebody_else_are_refused(weights: Path, metadata: dict[str, str] | None) -> None:
    weights.write_bytes(save({"weight": torch.ones(3)}, metadata=metadata))
    with refusal(weights, "cannot be read"):
        load_trained(weights)


@pytest.mark.parametrize(
    "change",
    [
        {"stream": "bones"},
        {"num_bodies": "two"},
        {"class_names": None},
        {"colour": "red"},
        {"network": {"width": 7}},
        {"network": {"block": {"windows": []}}},
        {"dataset": "ntu61"},
        {"normalisation": "mine"},
        {"layout": {}},
        {"layout": to_plain(load_layout("kinect20"))},
        {"layout": {**to_plain(CARD.layout), "parents": [99] * 25}},
        {"sampling": {"frames": 0}},
        {"sampling": {**to_plain(CARD.sampling), "frames": 10**12}},
        {"num_bodies": -1},
        {"num_bodies": 3},
        {"class_names": []},
        {"class_names": ["drink water", "drink water"]},
        {"class_names": ["drink water", "\x1b[31mred"]},
        {"network": {"width": 6 * 10**12}},
        {"network": {"block": {"windows": [3] * 1000}}},
        {"network": {"block": {"windows": [10**9]}}},
        {"network": {"block": {"window_scales": 10**9}}},
        {"network": {"block": {"temporal": "ff", "group": 10**9}}},
    ],
)
def test_a_description_that_makes_no_network_is_refused(weights: Path, change: dict[str, Any]) -> None:
    tensors, description = read_weights(weights)
    write_weights(weights, tensors, {**description, **change})
    with refusal(weights, "not described as it should be"):
        load_trained(weights)


@pytest.mark.parametrize("change", [{"width": 12}, {"width": 6 * 10**3}, {"block": {"windows": [3, 5]}}, {"dp": "none"}])
def test_weights_of_another_network_are_refused_before_it_is_built(weights: Path, change: dict[str, Any]) -> None:
    tensors, description = read_weights(weights)
    write_weights(weights, tensors, {**description, "network": {**description["network"], **change}})
    with refusal(weights, "do not fit the network"):
        load_trained(weights)


def test_a_state_comes_back_as_it_was(tmp_path: Path) -> None:
    state = {"place": {"epoch": 3, "loss": 0.5, "records": "[]"}, "network": {"weight": torch.arange(3.0)}}
    folder = StateFolder(tmp_path)
    for steps in (5, 20, 100):
        folder.save(steps, {**state, "steps": steps})
    assert [file.steps for file in folder.files()] == [20, 100]
    found, damaged = folder.load()
    assert damaged == []
    assert (found["steps"], found["place"]) == (100, state["place"])
    assert torch.equal(found["network"]["weight"], torch.arange(3.0))


def write_state(run: Path, content: bytes) -> Path:
    """A state whose name holds the right hash."""
    path = run / f"state-{7:08d}-{hashlib.sha256(content).hexdigest()[:16]}.pt"
    path.write_bytes(content)
    return path


def test_a_damaged_state_is_none_of_the_two_that_are_kept(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.save(50, {"steps": 50})
    folder.save(100, {"steps": 100}).write_bytes(b"damaged")
    (tmp_path / ".state-00000100.tmp").touch()
    assert folder.load()[0] == {"steps": 50}
    for steps in (60, 70):
        folder.save(steps, {"steps": steps})
    assert [file.steps for file in folder.files()] == [60, 70]
    assert folder.load() == ({"steps": 70}, [])
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("form", ["zip", "legacy", "plain pickle"])
def test_a_hostile_state_is_refused_and_runs_nothing(tmp_path: Path, form: str) -> None:
    trap = {"place": CreatesFile(tmp_path / "trace")}
    content = io.BytesIO()
    if form == "plain pickle":
        pickle.dump(trap, content, protocol=2)
    else:
        torch.save(trap, content, _use_new_zipfile_serialization=form == "zip")
    path = write_state(tmp_path, content.getvalue())
    with refusal(path, "nothing of it was run") as caught:
        StateFolder(tmp_path).load()
    assert "weights_only" not in str(caught.value)  # PyTorch's advice, which would run it
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 no archive", b"\x80\x02]q\x00."])
def test_a_state_of_nothing_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = write_state(tmp_path, content)
    with refusal(path, "this training state"):
        StateFolder(tmp_path).load()


def test_a_folder_in_the_place_of_a_state_is_passed_over(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    folder.save(5, {"steps": 5})
    strange = tmp_path / "state-00000009-0123456789abcdef.pt"
    strange.mkdir()
    assert folder.load() == ({"steps": 5}, [strange])


def test_other_files_are_no_states(tmp_path: Path) -> None:
    for name in ("state-1-00.pt", "state-00000001-0123456789abcdeg.pt", "state-00000001.pt", ".state-00000001-0123456789abcdef.pt.tmp"):
        (tmp_path / name).write_bytes(b"")
    assert StateFolder(tmp_path).files() == []


def test_descriptions_are_plain_json(weights: Path) -> None:
    _, description = read_weights(weights)
    assert description == json.loads(json.dumps({"format": WEIGHTS_FORMAT, **to_plain(CARD)}))
