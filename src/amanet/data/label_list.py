"""Lists of labels that come with a data set: what they say of the clips is compared with what the clips say themselves."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from amanet.data.archive import RawMember
from amanet.data.benchmark import Dataset
from amanet.errors import StoreError, first_of

Listed = Mapping[str, int | None]
"""The label of each listed sample, None for one that shows nobody."""


def read_label_lists(source: Dataset, members: Sequence[RawMember]) -> tuple[list[RawMember], Listed]:
    """The files that are no lists of labels, and what the lists among them say together.

    Raises:
        FormatError: a list is damaged.
    """
    others: list[RawMember] = []
    listed: dict[str, int | None] = {}
    for member in members:
        if source.label_list is None or source.label_reader is None or source.label_list.fullmatch(member.where.name) is None:
            others.append(member)
        else:
            listed |= source.label_reader(member.read(), member.where)
    return others, listed


def check_labels(rows: pa.Table, listed: Listed) -> None:
    """Raises StoreError where clips have other labels than the lists say; the message names the first of them."""
    labels = zip(rows["sample"].to_pylist(), rows["label"].to_pylist(), strict=True)
    wrong = [f"{sample} ({label}, listed as {listed[sample]})" for sample, label in labels if listed.get(sample, label) != label]
    if wrong:
        raise StoreError(
            f"{len(wrong)} clips have another label than in the list of labels",
            got=first_of(wrong),
            cure="use clips and lists of one release",
        )
