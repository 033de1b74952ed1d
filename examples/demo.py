"""The main road in a few minutes without any data: people acting are made up, a narrow AMANet learns to tell what they do.

``make demo`` runs it. Every step is one function of the library, and the same step of the command ``amanet`` is printed above it.
"""

import logging
import shlex
import sys
import time
from pathlib import Path

import numpy as np
import yaml
from jaxtyping import Float, Int

from amanet.data.dataset import ClipDataset, split_rows
from amanet.data.published import get_benchmark
from amanet.data.store import ClipStore
from amanet.errors import AmanetError
from amanet.evaluate import evaluate
from amanet.experiment import Experiment, Machine, from_plain
from amanet.metrics import accuracy
from amanet.predict import predict
from amanet.prepare import prepare
from amanet.show import show
from amanet.synthesize import synthesize
from amanet.train import train

ACTIONS = (1, 7, 9, 10, 23, 24, 27, 31, 33, 38, 40, 50, 58)
CAMERAS = (1, 3)
CONFIG = Path(__file__).with_name("demo.yaml")


def main(folder: Path) -> None:
    """Run the demo into a new folder, step by step."""
    if folder.exists():
        sys.exit(f"{folder} is there already: remove it (rm -r {folder}), or name another folder: {sys.executable} {sys.argv[0]} FOLDER")
    began = time.monotonic()
    raw, stored, run = folder / "raw", folder / "store", folder / "run"

    announce(
        "1. People act: raw .skeleton files in the format of NTU RGB+D",
        "synthesize",
        raw,
        "--actions",
        list(ACTIONS),
        "--cameras",
        list(CAMERAS),
    )
    synthesize(raw, actions=ACTIONS, cameras=CAMERAS)

    announce("2. The raw files become a store", "prepare", "ntu60", stored, raw)
    store = prepare("ntu60", raw, stored)

    command = ("train", run, "--config", CONFIG, "--store", stored, "--evaluate_every", 4)
    announce("3. A narrow AMANet learns from six performers", *command)
    experiment = from_plain(Experiment, {**yaml.safe_load(CONFIG.read_text(encoding="utf-8")), "store": str(stored)}, CONFIG)
    train(experiment, run, Machine(evaluate_every=4))

    announce("4. It is tested on four performers it has never seen", "evaluate", run)
    found = accuracy(evaluate(run))

    announce("5. Pictures", "show", run)
    pictures = show(run)

    clip = next(path for path in sorted(raw.glob("*P003*.skeleton")))
    announce(f"6. What happens in {clip.name}?", "predict", run, clip, "--top", 3)
    (answer,) = predict(run, [clip], top=3)
    for name, probability in zip(answer.class_names, answer.probabilities, strict=True):
        print(f"   {probability:6.1%}  {name}")

    plain = nearest_mean_accuracy(store, experiment)
    print(f"\nOn the clips of performers never seen in training ({time.monotonic() - began:.0f} s in all):")
    print(f"   chance             {1 / len(ACTIONS):6.1%}")
    print(f"   nearest class mean {plain:6.1%}")
    print(f"   AMANet             {found.top1:6.1%}")
    print("\nWritten:")
    for path in (raw, stored, run, *pictures):
        print(f"   {path}")


def announce(step: str, *command: object) -> None:
    """Say what comes, and the command that does it."""
    words = " ".join(shlex.quote(str(word)) for word in ("amanet", *command))
    print(f"\n== {step}\n   $ {words}", flush=True)


def nearest_mean_accuracy(store: ClipStore, experiment: Experiment) -> float:
    """A plain baseline: the class whose mean training clip, joint by joint and frame by frame, is nearest."""
    rows = split_rows(store, get_benchmark(experiment.benchmark))
    train_clips, train_labels = flatten(ClipDataset(store, rows["train"], experiment.sampling, seed=0, training=False))
    test_clips, test_labels = flatten(ClipDataset(store, rows["test"], experiment.sampling, seed=0, training=False))
    classes = np.unique(train_labels)
    means = np.stack([train_clips[train_labels == label].mean(0) for label in classes])
    distance = ((test_clips[:, None] - means[None]) ** 2).sum(-1)
    return float((classes[distance.argmin(1)] == test_labels).mean())


def flatten(dataset: ClipDataset) -> tuple[Float[np.ndarray, "clip number"], Int[np.ndarray, " clip"]]:
    """All clips as vectors, with their labels."""
    clips = [dataset[0, position] for position in range(len(dataset))]
    return np.stack([clip.joints.ravel() for clip in clips]), np.array([clip.label for clip in clips])


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    logging.getLogger("amanet").setLevel(logging.INFO)  # what the library remarks, as of compiling, is printed
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
    except AmanetError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
