"""Class names of every script: drawn where a font has the letters, and said in one line of our own where none has."""

import logging
from pathlib import Path

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from amanet.pictures import confusion_matrix, fonts, save_figure, stream_bars
from amanet.pictures.style import headline, new_figure, styled

CHINESE = "拍手"


@pytest.fixture(autouse=True)
def _as_in_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_said", [])


@styled
def titled(text: str) -> Figure:
    figure = new_figure(3.0, 1.0)
    headline(figure, text)
    return figure


def write_font(path: Path, family: str, letters: str) -> None:
    """A font in which each of these letters is a triangle."""
    pen = TTGlyphPen(None)
    for place, point in enumerate([(100, 0), (900, 0), (500, 800)]):
        (pen.lineTo if place else pen.moveTo)(point)
    pen.closePath()
    names = [".notdef", *(f"uni{ord(letter):04X}" for letter in letters)]
    font = FontBuilder(1000)
    font.setupGlyphOrder(names)
    font.setupCharacterMap({ord(letter): name for letter, name in zip(letters, names[1:], strict=True)})
    font.setupGlyf(dict.fromkeys(names, pen.glyph()))
    font.setupHorizontalMetrics(dict.fromkeys(names, (1000, 0)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": family, "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(path)


def test_letters_that_no_font_has_are_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """And matplotlib, whose warnings would be errors here, says nothing."""
    monkeypatch.setattr(fonts, "OTHER_FONTS", ())
    for name in ("one", "two"):
        save_figure(titled(f"clip: {CHINESE}"), tmp_path / f"{name}.png")
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("amanet.pictures.fonts", logging.WARNING)
    assert f"no font has {CHINESE}," in record.getMessage()
    assert "\n" not in record.getMessage()


def test_classes_of_any_script_make_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "OTHER_FONTS", ())
    save_figure(confusion_matrix(np.eye(3, dtype=np.int64), [CHINESE, "차기", "jump"]), tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").stat().st_size > 1000


@pytest.mark.parametrize("name", ["a$x^_$b", "$\\frac$", "5 $ or 6 $"])
def test_a_dollar_is_a_letter(tmp_path: Path, name: str) -> None:
    save_figure(confusion_matrix(np.eye(3, dtype=np.int64), [name, "wave", "jump"]), tmp_path / "confusion.png")
    save_figure(stream_bars({name: [0.5, 0.6]}, title=name), tmp_path / "bars.svg")
    save_figure(titled(name), tmp_path / "titled.pdf")
    assert len(list(tmp_path.iterdir())) == 3


def test_letters_are_drawn_in_a_font_that_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write_font(tmp_path / "font.ttf", "Triangles CJK", CHINESE)
    monkeypatch.setattr(fontManager, "ttflist", list(fontManager.ttflist))
    fontManager.addfont(tmp_path / "font.ttf")
    pictures = []
    for others in ((), ("No Such Font", "Triangles CJK")):
        monkeypatch.setattr(fonts, "OTHER_FONTS", others)
        caplog.clear()
        save_figure(titled(f"clip: {CHINESE}"), tmp_path / "picture.png")
        pictures.append((tmp_path / "picture.png").read_bytes())
    assert fonts.families() == [fonts.OWN_FONT, "Triangles CJK"]
    assert not caplog.records
    assert pictures[0] != pictures[1]


def test_letters_of_matplotlibs_own_font_are_no_boxes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_figure(titled("größer, ещё α → é\nand a line"), tmp_path / "picture.svg")
    assert not caplog.records
