"""What is seen of a long work is right, in a terminal and in a log."""

import re
from types import SimpleNamespace

import pytest

from amanet import countdown
from amanet.countdown import LINE_SECONDS, Countdown


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
        "preparing 7,000 of 10,000 files, 100 files/s, 0:00:30 left",
        "preparing 9,000 of 10,000 files, 100 files/s, 0:00:10 left",
        "preparing 10,000 of 10,000 files, 100 files/s, 0:00:50 in all",
    ]


def test_a_terminal_gets_a_bar(clock: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "120"}.items():
        monkeypatch.setenv(name, value)
    with Countdown("preparing", 4000) as shown:
        clock[0] += 10
        shown.advance(1000)
        shown.progress.refresh()
        assert shown.progress.tasks[0].fields["state"] == ", 100 files/s, 0:00:30 left"
        clock[0] += 30
        shown.advance(3000)
    seen = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert "━ 1000/4000 files, 100 files/s, 0:00:30 left" in seen
    assert "━ 4000/4000 files, 100 files/s, 0:00:40 in all" in seen
    assert "of 4,000" not in seen
