"""What is seen of a long work is right, in a terminal and in a log."""

import re
from types import SimpleNamespace

import pytest

from amanet.system import countdown
from amanet.system.countdown import LINE_SECONDS, Countdown, duration


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as the module sees it."""
    now = [100.0]
    monkeypatch.setattr(countdown, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_a_log_gets_a_line_now_and_then(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Countdown("preparing", 10_000, done=5000) as shown:
        for files in (1000, 1000, 500, 1500, 1000):
            clock[0] += LINE_SECONDS / 2
            shown.advance(files)
    assert capsys.readouterr().err.splitlines() == [
        "preparing 5,000 of 10,000 files",
        "preparing 7,000 of 10,000 files, 100 files/s, 30 s left",
        "preparing 9,000 of 10,000 files, 100 files/s, 10 s left",
        "preparing 10,000 of 10,000 files, 100 files/s, 50 s in all",
    ]


def test_a_terminal_gets_a_bar(clock: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "120"}.items():
        monkeypatch.setenv(name, value)
    with Countdown("preparing", 4000) as shown:
        clock[0] += 10
        shown.advance(1000)
        shown.progress.refresh()
        assert shown.progress.tasks[0].fields["state"] == ", 100 files/s, 30 s left"
        clock[0] += 30
        shown.advance(3000)
    seen = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert "━ 1000/4000 files, 100 files/s, 30 s left" in seen
    assert "━ 4000/4000 files, 100 files/s, 40 s in all" in seen
    assert "of 4,000" not in seen


def test_work_that_is_soon_done_is_not_shown(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Countdown("scoring", 64, unit="clips", quiet=5.0) as shown:
        for _ in range(2):
            clock[0] += 2
            shown.advance(32)
    assert capsys.readouterr().err == ""
    with Countdown("scoring", 64, unit="clips", quiet=5.0) as shown:
        for _ in range(4):
            clock[0] += 4
            shown.advance(16)
    assert capsys.readouterr().err.splitlines() == [
        "scoring 32 of 64 clips, 4 clips/s, 8 s left",
        "scoring 64 of 64 clips, 4 clips/s, 16 s in all",
    ]


@pytest.mark.parametrize("terminal", [False, True])
def test_only_one_process_shows_it(
    clock: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
    with Countdown("scoring", 64, visible=False) as shown:
        clock[0] += 10
        shown.advance(64)
    assert capsys.readouterr().err == ""


def test_the_shares_of_other_processes_are_about_as_large(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    """What one process takes for all of them may come to a few more than there are, and is said once."""
    with Countdown("scoring", 7, unit="clips") as shown:
        for _ in range(3):
            clock[0] += 30
            shown.advance(4)
    assert [line.partition(" clips")[0] for line in capsys.readouterr().err.splitlines()] == [
        "scoring 0 of 7",
        "scoring 4 of 7",
        "scoring 7 of 7",
    ]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.042, "0.042 s"),
        (2.44, "2.4 s"),
        (89.0, "89 s"),
        (90.0, "1.5 min"),
        (2700.0, "45 min"),
        (5400.0, "1.5 h"),
        (144_000.0, "40 h"),
        (4e6, "1,111 h"),
    ],
)
def test_times_are_said_as_a_person_does(seconds: float, said: str) -> None:
    assert duration(seconds) == said
