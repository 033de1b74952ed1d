"""Letters of every script in pictures: fonts that are installed beside matplotlib's own, and what is said where none has a letter."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager, get_font
from matplotlib.text import Text

OWN_FONT = "DejaVu Sans"
"""Comes with matplotlib: Latin, Greek, Cyrillic, Arabic and more, but neither Chinese nor Japanese nor Korean."""
OTHER_FONTS = (
    *(f"{name} {script}" for name in ("Noto Sans CJK", "Source Han Sans", "Noto Sans") for script in ("SC", "TC", "HK", "JP", "KR")),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "Microsoft YaHei", "SimHei", "PingFang SC", "PingFang HK"),
    *("Hiragino Sans", "Hiragino Sans GB", "Yu Gothic", "Meiryo", "MS Gothic", "IPAexGothic", "IPAGothic"),
    *("Malgun Gothic", "Apple SD Gothic Neo", "AppleGothic", "NanumGothic", "Arial Unicode MS"),
)
SHOWN_LETTERS = 10

_said: list[str] = []
"""Letters that a remark was made of in this process."""


def families() -> list[str]:
    """Fonts to look for a letter in, one after the other; all are installed."""
    installed = set(fontManager.get_font_names())
    return [OWN_FONT, *(name for name in OTHER_FONTS if name in installed)]


@contextmanager
def matplotlib_silent() -> Iterator[None]:
    """Within it matplotlib says nothing of letters that no font has, whenever it lays out a text, or of fonts without bold letters."""
    logger = logging.getLogger("matplotlib.font_manager")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"Glyph \d+ .*missing from", UserWarning)
            yield
    finally:
        logger.setLevel(level)


def say_boxes(figure: Figure) -> None:
    """Remark, once a process, that letters of the figure's texts will be boxes, as no font has them."""
    letters = dict.fromkeys(letter for text in figure.findobj(Text) for letter in text.get_text() if not letter.isspace())
    paths = [fontManager.findfont(name) for name in families()] if letters else []
    boxes = "".join(letter for letter in letters if not any(get_font(path).get_char_index(ord(letter)) for path in paths))
    if boxes and not _said:
        _said.append(boxes)
        remedy = f"install one that has (Noto Sans CJK, say), then remove {mpl.get_cachedir()}/fontlist*.json"
        logging.getLogger(__name__).warning("no font has %s, so these are boxes in the pictures; %s", boxes[:SHOWN_LETTERS], remedy)
