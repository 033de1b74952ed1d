"""``dataset.toml`` of a folder of one's own clips: which skeleton the clips are of, and what their classes are called."""

import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amanet.data.class_names import twice, unprintable
from amanet.data.own.table import decode
from amanet.errors import FormatError, LayoutError, first_of
from amanet.skeleton import SkeletonLayout, layout_names, load_layout

DESCRIPTION_FILE = "dataset.toml"
DATASET_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
MOST_BODIES = 16
EXAMPLE = 'name = "my-gym", layout = "ntu25", classes = ["squat", "lunge"], max_bodies = 1'


@dataclass(frozen=True)
class OwnDescription:
    """What ``dataset.toml`` says.

    Attributes:
        name: of the data set: small letters, digits, and . _ - between them.
        layout: the name of a layout that ships, or of a .toml file beside ``dataset.toml``.
        class_names: one a label, in the order of the labels; ``classes`` in the file.
        max_bodies: people who take part in a clip at most; of more, those who move most are kept.
        test_performers: who tests, while all others train; in place of a column ``split`` in ``labels.csv``.

    Raises:
        FormatError: a value is none that the field can have.
    """

    name: str
    layout: str
    class_names: tuple[str, ...]
    max_bodies: int
    test_performers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        again, odd = twice(self.class_names), unprintable(self.class_names)
        file = self.layout.endswith(".toml")
        rules = {
            "name is no name of a data set": (DATASET_NAME.fullmatch(self.name), "small letters, digits, and . _ - between", self.name),
            "layout is no layout": (
                "/" not in self.layout if file else self.layout in layout_names(),
                f"one of {', '.join(layout_names())}, or the name of a .toml file in this folder",
                self.layout,
            ),
            "there are too few classes": (len(self.class_names) >= 2, "two or more", len(self.class_names)),
            "classes that stand there twice": (not again, None, first_of(again)),
            "classes whose names cannot be printed": (not odd, "text without spaces around it", first_of(odd)),
            "max_bodies is no number of people": (1 <= self.max_bodies <= MOST_BODIES, f"1 to {MOST_BODIES}", self.max_bodies),
            "test_performers are no performers": (
                all(number >= 0 for number in self.test_performers) and len(set(self.test_performers)) == len(self.test_performers),
                "different numbers of 0 or more",
                list(self.test_performers),
            ),
        }
        for problem, (holds, expected, got) in rules.items():
            if not holds:
                raise FormatError(problem, expected=expected, got=got)

    def skeleton(self, folder: Path) -> SkeletonLayout:
        """The layout of the clips in that folder.

        Raises:
            LayoutError: the file of the layout is not there or contradicts itself, or has the name of one that ships and is another.
        """
        if not self.layout.endswith(".toml"):
            return load_layout(self.layout)
        layout = load_layout(folder / self.layout)
        if layout.name in layout_names() and layout != load_layout(layout.name):
            cure = "give it another name, or copy that one as it is"
            raise LayoutError(f"a layout {layout.name} ships, and this is another", where=folder / self.layout, cure=cure)
        return layout

    def to_toml(self) -> str:
        """The content of the file."""
        lines = [
            f"name = {_quoted(self.name)}",
            f"layout = {_quoted(self.layout)}",
            f"max_bodies = {self.max_bodies}",
            *([f"test_performers = {list(self.test_performers)}"] if self.test_performers else []),
            "classes = [",
            *(f"    {_quoted(name)}," for name in self.class_names),
            "]",
        ]
        return "\n".join([*lines, ""])


def read_description(folder: Path) -> OwnDescription:
    """The description in a folder.

    Raises:
        FormatError: the file is not there or no TOML, or a field is missing, unknown or of the wrong kind.
    """
    path = folder / DESCRIPTION_FILE
    try:
        fields = tomllib.loads(decode(path.read_bytes(), path))
        _check_kinds(fields)
        return OwnDescription(
            name=fields["name"],
            layout=fields["layout"],
            class_names=tuple(fields["classes"]),
            max_bodies=fields["max_bodies"],
            test_performers=tuple(fields.get("test_performers", ())),
        )
    except (FileNotFoundError, NotADirectoryError) as error:
        raise FormatError(
            f"there is no {DESCRIPTION_FILE} here" if folder.exists() else "there is no folder here",
            where=folder,
            expected=f"a folder of your own clips with {DESCRIPTION_FILE}, labels.csv and clips/",
            cure="see docs/data.md, or begin with an example: amanet new-dataset DIR",
        ) from error
    except (OSError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise FormatError(f"this TOML file cannot be read: {error}", where=path, expected=EXAMPLE) from error
    except FormatError as error:
        error.where = str(path)
        error.cure = error.cure or "mend this file (docs/data.md)"
        raise


def _check_kinds(fields: dict[str, Any]) -> None:
    needed, allowed = {"name", "layout", "classes", "max_bodies"}, {"test_performers"}
    if not needed <= fields.keys() <= needed | allowed:
        raise FormatError(
            "the fields are not those of a data set",
            expected=f"{', '.join(sorted(needed))}, and perhaps {', '.join(sorted(allowed))}",
            got=", ".join(fields) or "nothing",
        )
    kinds = {
        "name": (_all_are(str, [fields["name"]]), "a text"),
        "layout": (_all_are(str, [fields["layout"]]), "a text"),
        "classes": (_all_are(str, fields["classes"]), "a list of texts"),
        "max_bodies": (_all_are(int, [fields["max_bodies"]]), "a whole number"),
        "test_performers": (_all_are(int, fields.get("test_performers", [])), "a list of whole numbers"),
    }
    for name, (fits, expected) in kinds.items():
        if not fits:
            raise FormatError(f"{name} is of the wrong kind", expected=expected, got=fields[name])


def _all_are(kind: type, values: object) -> bool:
    return isinstance(values, Sequence) and not isinstance(values, str) and all(type(value) is kind for value in values)


def _quoted(text: str) -> str:
    """A text as TOML writes it; texts of printable characters look the same in JSON."""
    return json.dumps(text, ensure_ascii=False)
