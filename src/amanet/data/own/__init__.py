"""A folder of one's own clips, of people and skeletons that no published data set knows::

    DIR/dataset.toml    name, layout, classes, max_bodies: :class:`~amanet.data.own.description.OwnDescription`
    DIR/labels.csv      a row a clip: clip, class, performer, split: :class:`~amanet.data.own.labels.OwnLabel`
    DIR/clips/          a file a clip, .npy, .csv or .jsonl

``writer`` makes such a folder. Everything is checked when it is read, and every refusal names the file and the line.
"""
