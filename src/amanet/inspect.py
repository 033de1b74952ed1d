"""The verb ``inspect``: what the clips of a store are like, on a page and in numbers, and the strangest of them as film strips."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from amanet.data.store import ClipStore
from amanet.data.strange import Strange, strangest, warnings
from amanet.data.survey import Survey, survey
from amanet.errors import ExperimentError
from amanet.pictures import Overview, View, film_strip, overview_page, save_figure
from amanet.system.places import beside, make_folder, write_file

RECORDED_BY = ("performer", "camera", "setup")


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        folder: where the pictures, ``inspection.md`` and ``inspection.json`` are.
        facts: the numbers.
        strange: the strangest clips.
        warnings: what looks wrong with the store as a whole.
    """

    folder: Path
    facts: dict[str, Any]
    strange: list[Strange]
    warnings: list[str]


def inspect(store: Path, out: Path | None = None, *, clips: int = 1) -> Inspection:
    """Look at a store: lengths, bodies, classes, missing joints, who and what recorded it, and the strangest clips.

    The store is only read. It may hold any number of clips: they are read one after the other.

    Args:
        store: the store.
        out: folder for the pictures and the numbers; STORE-inspection unless given.
        clips: strangest clips of each kind to draw.

    Raises:
        StoreError: it is no store, or damaged.
        ExperimentError: ``clips`` is negative.
        PlaceError: ``out`` cannot be written.
    """
    if clips < 0:
        raise ExperimentError("clips is how many to draw of each kind", expected="0 or more", got=clips)
    opened = ClipStore.open(store)
    opened.verify()
    view = View.prepared(opened.recipe, opened.layout)
    found = survey(opened, vertical=1 if view.vertical == "y" else 2)
    folder = out or beside(store.absolute(), "-inspection")
    inspection = Inspection(folder, _facts(opened, found), strangest(opened, found, clips), warnings(found))
    make_folder(folder)
    _draw(opened, found, inspection, view)
    _write(inspection)
    _print(inspection, opened)
    return inspection


def _facts(store: ClipStore, found: Survey) -> dict[str, Any]:
    """The numbers, as they are written."""
    frames = store.index["frames"].to_numpy()
    labels = Counter(store.index["label"].to_pylist())
    return {
        "store": str(store.path),
        "dataset": store.dataset,
        "recipe": store.recipe,
        "layout": store.layout.name,
        "clips": len(store),
        "frames": {
            "shortest": int(frames.min()),
            "median": float(np.median(frames)),
            "longest": int(frames.max()),
            "all": int(frames.sum()),
            "empty": int((found.empty * frames).round().sum()),
        },
        "bodies": _counts(store, "bodies"),
        "classes": {name: labels[label] for label, name in enumerate(store.class_names)},
        **{name: _counts(store, name) for name in RECORDED_BY},
        "missing": {
            "all": float(found.joint_missing.mean()),
            **{joint: float(share) for joint, share in zip(store.layout.joints, found.joint_missing, strict=True)},
        },
    }


def _counts(store: ClipStore, column: str) -> dict[int, int]:
    counts = Counter(store.index[column].drop_null().to_pylist())
    return {number: counts[number] for number in sorted(counts)}


def _draw(store: ClipStore, found: Survey, inspection: Inspection, view: View) -> None:
    facts = inspection.facts
    overview = Overview(
        frames=store.index["frames"].to_numpy().astype(np.int64),
        bodies=store.index["bodies"].to_numpy().astype(np.int64),
        labels=store.index["label"].to_numpy().astype(np.int64),
        class_names=store.class_names,
        groups={name: facts[name] for name in RECORDED_BY},
        joint_missing=found.joint_missing,
        pose=_whole_pose(store, found),
    )
    title = f"{store.dataset}: {len(store):,} clips of {store.layout.name}, prepared as {store.recipe}"
    save_figure(overview_page(overview, store.layout, title=title, view=view), inspection.folder / "overview.png")
    for each in inspection.strange:
        clip = store.clip(each.row)
        name = store.class_names[clip.label or 0]
        figure = film_strip(
            clip.joints, clip.present, store.layout, title=f"{each.sample}: {name}", note=each.why, span=each.span, view=view
        )
        save_figure(figure, inspection.folder / _picture(each))


def _whole_pose(store: ClipStore, found: Survey) -> np.ndarray:
    """A body to colour: of the clips with the fewest missing joints the first, in its frame with the most."""
    clip = store.clip(int(found.missing.argmin()))
    body, frame = np.unravel_index(clip.present.sum(axis=2).argmax(), clip.present.shape[:2])
    return clip.joints[body, frame]


def _picture(each: Strange) -> str:
    return f"{each.kind}-{each.sample}.png"


def _write(inspection: Inspection) -> None:
    facts = {**inspection.facts, "warnings": inspection.warnings, "strange": [asdict(each) for each in inspection.strange]}
    write_file(inspection.folder / "inspection.json", f"{json.dumps(facts, indent=1)}\n".encode())
    lines = [
        f"# {facts['dataset']}: {facts['clips']:,} clips",
        "",
        *(f"**{text}**\n" for text in inspection.warnings),
        "![](overview.png)",
        "",
    ]
    for each in inspection.strange:
        lines += [f"## {each.sample}", "", each.why, "", f"![]({_picture(each)})".replace(" ", "%20"), ""]
    write_file(inspection.folder / "inspection.md", "\n".join(lines).encode())


def _print(inspection: Inspection, store: ClipStore) -> None:
    facts, console = inspection.facts, Console()
    table = Table("", "", show_header=False)
    frames, classes = facts["frames"], facts["classes"]
    table.add_row("clips", f"{facts['clips']:,} of {escape(facts['dataset'])}, prepared as {facts['recipe']}, {frames['all']:,} frames")
    table.add_row("lengths", f"{frames['shortest']} to {frames['longest']} frames, median {frames['median']:g}")
    table.add_row("nobody", f"in {frames['empty']:,} of the frames, {frames['empty'] / frames['all']:.1%}")
    table.add_row("bodies", ", ".join(f"{clips:,} of {number}" for number, clips in facts["bodies"].items()))
    table.add_row("classes", f"{len(classes)}, of {min(classes.values()):,} to {max(classes.values()):,} clips")
    for name in RECORDED_BY:
        if facts[name]:
            table.add_row(f"{name}s", f"{len(facts[name])}, in {min(facts[name].values()):,} to {max(facts[name].values()):,} clips")
    table.add_row("missing", escape(_missing(facts["missing"])))
    for each in inspection.strange:
        text = f"{each.sample}: {store.class_names[store.index['label'][each.row].as_py()]}. {each.why}"
        table.add_row(each.kind, escape(text))
    print(store.path)
    console.print(table)
    for text in inspection.warnings:
        console.print(f"[bold yellow]warning[/] {escape(text)}", highlight=False)
    print(f"written to {inspection.folder}; begin with inspection.md")


def _missing(shares: dict[str, float]) -> str:
    worst: Sequence[str] = sorted((name for name in shares if name != "all"), key=lambda name: -shares[name])[:3]
    if not shares["all"]:
        return "no joint of a body that is seen"
    return f"{shares['all']:.1%} of the joints of bodies that are seen; most {', '.join(f'{name} {shares[name]:.1%}' for name in worst)}"
