"""The verb synthesize: names, counts, refusals, and files that do not depend on what else is written."""

from pathlib import Path
from typing import Any

import pytest

from amanet import synthesize as verb
from amanet.data.published import BENCHMARKS
from amanet.errors import ExperimentError
from amanet.synthesize import synthesize


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_names_counts_and_summary(tmp_path: Path) -> None:
    summary = synthesize(tmp_path / "raw", actions=(7, 58), performers=3, setups=(1, 2), replications=2)
    written = content(tmp_path / "raw")
    expected = {
        f"S{1 + (performer - 1) % 2:03}C{camera:03}P{performer:03}R{replication:03}A{action:03}.skeleton"
        for performer in (1, 2, 3)
        for camera in (1, 2, 3)
        for replication in (1, 2)
        for action in (7, 58)
    }
    assert set(written) == expected
    assert summary.num_clips == len(expected)
    assert summary.num_bytes == sum(map(len, written.values()))
    assert summary.num_frames == sum(int(text.split(b"\r\n", 1)[0]) for text in written.values())
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_a_file_depends_on_the_seed_and_its_name_alone(tmp_path: Path) -> None:
    synthesize(tmp_path / "many", actions=(1, 9, 50), performers=2, replications=1)
    synthesize(tmp_path / "few", actions=(50, 9), performers=(2,), cameras=(3, 1), replications=1)
    synthesize(tmp_path / "other", actions=(9,), performers=(2,), cameras=(1,), replications=1, seed=1)
    many, few = content(tmp_path / "many"), content(tmp_path / "few")
    assert few == {name: many[name] for name in few}
    assert all(many[name] != text for name, text in content(tmp_path / "other").items())


@pytest.mark.parametrize("benchmark", ["ntu60-xsub", "ntu60-xview"])
def test_both_parts_of_the_protocols_are_there(tmp_path: Path, benchmark: str) -> None:
    synthesize(tmp_path / "raw", actions=(31,), replications=1)
    protocol = BENCHMARKS[benchmark]
    keys = [protocol.dataset.parse(path.stem) for path in (tmp_path / "raw").iterdir()]
    trains = [protocol.in_training(key) for key in keys]
    assert len(keys) == 30
    assert 0.5 < sum(trains) / len(trains) < 0.75


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"actions": (1, 2)}, "no synthetic action 2"),
        ({"actions": ()}, "no actions"),
        ({"performers": 0}, "no performers"),
        ({"performers": (4, 4)}, "no performers"),
        ({"cameras": (4,)}, "no cameras"),
        ({"setups": (0,)}, "no setups"),
        ({"replications": 0}, "no replications"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_there_is_not_is_refused_before_anything_is_written(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        synthesize(tmp_path / "raw", **wrong)
    assert not any(tmp_path.iterdir())


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ExperimentError, match="something already"):
        synthesize(tmp_path, actions=(1,), performers=1)
    assert content(tmp_path) == {"mine.txt": b"mine"}


def test_an_interrupted_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(verb, "skeleton_text", stop)
    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / "raw", actions=(1,), performers=1)
    assert not any(tmp_path.iterdir())
