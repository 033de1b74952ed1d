"""The command ``amanet``: one verb, one function of the library; nothing is imported before it is needed."""

import io
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

from amanet import __version__
from amanet.arguments import VERBS, function_arguments, make_parser, parse
from amanet.errors import AmanetError, ExperimentError, PlaceError
from amanet.system.interrupt import termination_interrupts

if TYPE_CHECKING:
    from jsonargparse import Namespace

Settings = TypeVar("Settings")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; 0 when it went well, 2 after an error that the user can mend, 130 when interrupted, 141 when nobody reads on."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no reason to fail
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if verb in ("-h", "--help"):
        return _run(verb, lambda: print(overview()))
    if verb == "--version":
        return _run(verb, lambda: print(f"amanet {__version__}"))
    if verb not in VERBS:
        print(f"amanet: there is no verb {verb!r}; expected one of {', '.join(VERBS)}", file=sys.stderr)
        return 2
    return _run(verb, lambda: HANDLERS[verb](rest))


def _run(verb: str, work: Callable[[], object]) -> int:
    """Does what a verb is for, and tells the shell how it ended."""
    try:
        with termination_interrupts(), _remarks():
            work()
        print(end="", flush=True)  # where there is no standard output, to nobody
    except KeyboardInterrupt:
        print(f"amanet {verb}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # who reads what is printed has seen enough, as `| head` has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the flush at the end of Python must not say it again
        return 141
    except (AmanetError, OSError, MemoryError, RuntimeError) as error:
        if (said := _said(error)) is None:
            raise
        print(f"amanet {verb}: {said}", file=sys.stderr)
        return 2
    return 0


class _Printed(logging.Handler):
    """Above a bar that is being drawn, as what is printed then is."""

    def emit(self, record: logging.LogRecord) -> None:
        print(record.getMessage(), file=sys.stderr)


@contextmanager
def _remarks() -> Iterator[None]:
    """Within it what the library remarks is printed."""
    logger, printed = logging.getLogger("amanet"), _Printed()
    logger.setLevel(logging.INFO)
    logger.addHandler(printed)
    try:
        yield
    finally:
        logger.removeHandler(printed)


def _said(error: Exception) -> AmanetError | None:
    """What a user can act on in an error: that of the library, of the disk, or of memory that does not suffice; None of any other."""
    if isinstance(error, AmanetError):
        return error
    if isinstance(error, OSError):
        return PlaceError(f"the system does not play along: {error.strerror or error}", where=error.filename)
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error) or type(error).__name__ == "OutOfMemoryError":
        cure = "ask for less at once: smaller batches or micro batches, fewer frames or bodies, or --recompute true"
        return AmanetError("the memory of this machine does not suffice", got=str(error).partition("\n")[0] or None, cure=cure)
    return None


def overview() -> str:
    """What ``amanet --help`` prints."""
    verbs = "\n".join(f"  {verb:<11} {summary}" for verb, summary in VERBS.items())
    title = f"amanet {__version__}: recognising human actions from skeletons"
    return f"{title}\n\nusage: amanet VERB [...]\n\n{verbs}\n\n`amanet VERB --help` explains a verb."


def _synthesize(rest: Sequence[str]) -> None:
    from amanet.synthesize import synthesize

    synthesize(**function_arguments("synthesize", synthesize, rest))


def _new_dataset(rest: Sequence[str]) -> None:
    from amanet.new_dataset import new_dataset

    new_dataset(**function_arguments("new-dataset", new_dataset, rest))


def _convert(rest: Sequence[str]) -> None:
    if rest[:1] == ["pyskl"]:
        from amanet.convert_pyskl import convert_pyskl

        convert_pyskl(**function_arguments("convert pyskl", convert_pyskl, rest[1:]))
        return
    from amanet.convert_poses import convert_poses
    from amanet.data.formats.pose_json import PoseFormat

    forms = (*get_args(PoseFormat), "pyskl")
    if rest and not rest[0].startswith("-") and rest[0] not in forms:
        raise ExperimentError(f"there is no form {rest[0]!r} to convert", expected=f"one of {', '.join(forms)}")
    convert_poses(**function_arguments("convert", convert_poses, rest))


def _prepare(rest: Sequence[str]) -> None:
    from amanet.prepare import prepare

    raw = "folders with the raw files, or .zip archives as downloaded; of your own clips the one folder"
    prepare(**function_arguments("prepare", prepare, rest, raw=raw))


def _inspect(rest: Sequence[str]) -> None:
    from amanet.inspect import inspect

    inspect(**function_arguments("inspect", inspect, rest))


def _train(rest: Sequence[str]) -> None:
    from amanet.train import resume, train

    if any(argument.partition("=")[0] == "--resume" for argument in rest):
        run, machine = _resume_arguments(rest)
        _report_training(run, lambda: resume(run, machine))
        return
    from amanet.experiment import Experiment, Machine

    parser = make_parser("train", Experiment, Machine)
    parser.add_argument("run", type=Path, help="folder to write the run into")
    parser.add_class_arguments(Experiment)
    parser.add_class_arguments(Machine)
    parser.add_argument("--resume", type=Path, metavar="RUN", help="go on with the stopped run in this folder")
    found = parse(parser, rest)
    experiment, machine = _take(Experiment, found), _take(Machine, found)
    _report_training(found.run, lambda: train(experiment, found.run, machine))


def _take(kind: Callable[..., Settings], found: "Namespace", **others: Any) -> Settings:
    """The dataclass whose fields stand among the flags, but for ``others``."""
    from dataclasses import fields

    return kind(**{field.name: found[field.name] for field in fields(cast("Any", kind)) if field.name not in others}, **others)


def _resume_arguments(rest: Sequence[str]) -> tuple[Path, Any]:
    from dataclasses import fields

    from amanet.experiment import Machine

    parser = make_parser("train", Machine)
    parser.add_argument("--resume", type=Path, metavar="RUN", required=True, help="folder of the stopped run")
    parser.add_class_arguments(Machine)
    flags = ", ".join(f"--{field.name}" for field in fields(Machine))
    cure = f"with --resume go {flags}; a run keeps its other settings in its experiment.yaml, where epochs can be added, too"
    found = parse(parser, rest, cure).as_dict()
    run = found.pop("resume")
    found.pop("config", None)
    return run, Machine(**found)


def _report_training(run: Path, go: Callable[[], Any]) -> None:
    from lightning_fabric.utilities.rank_zero import rank_zero_only

    from amanet.metrics import Scores, in_words, scores_file
    from amanet.system.places import in_shell

    try:
        go()
    except KeyboardInterrupt:
        print(f"stopped; go on with: amanet train --resume {in_shell(run)}", file=sys.stderr)
        raise
    if not rank_zero_only.rank:  # pyright: ignore[reportFunctionMemberAccess] (of several processes the first says it)
        part = next(part for part in ("validation", "test") if scores_file(run, part).is_file())
        print(f"last epoch, {part} clips: {', '.join(in_words(Scores.read(scores_file(run, part))))}")
        print(f"written to {run}; see it with: amanet show {in_shell(run)}")


def _evaluate(rest: Sequence[str]) -> None:
    from amanet.evaluate import evaluate
    from amanet.metrics import accuracy, classes_file, in_words, scores_file

    arguments = function_arguments("evaluate", evaluate, rest)
    scores = evaluate(**arguments)
    print(f"{scores.source['benchmark']}, {scores.source['stream']} stream, {scores.source['part']} part, {len(scores.sample):,} clips")
    print("   ".join([*in_words(scores), f"loss {accuracy(scores).loss:.4f}"]))
    place = arguments["run"], scores.source["part"]
    print(f"scores: {scores_file(*place)}, of each class: {classes_file(*place)}")


def _ablate(rest: Sequence[str]) -> None:
    from amanet.ablate import ablate
    from amanet.experiment import Experiment, Machine

    parser = make_parser("ablate", ablate, Experiment, Machine)
    parser.add_function_arguments(ablate, as_positional=True, skip={"experiment", "machine"})
    parser.add_class_arguments(Experiment, skip={"seed"})
    parser.add_class_arguments(Machine)
    found = parse(parser, rest)
    experiment, machine = _take(Experiment, found, seed=0), _take(Machine, found)
    options = {name: found[name] for name in ("seeds", "folds", "jobs")}
    for result in ablate(found.table, found.out, experiment, machine, **options):
        print(f"\n{result.markdown()}\nwritten to {found.out / result.table.name}.md")


def _report(rest: Sequence[str]) -> None:
    from amanet.report import report

    for path in report(**function_arguments("report", report, rest, ablations="folders that amanet ablate wrote")):
        print(path)


def _fuse(rest: Sequence[str]) -> None:
    from amanet.fuse import fuse

    arguments = function_arguments("fuse", fuse, rest, runs="folders of finished trainings, usually one a stream")
    found = fuse(**arguments)
    first = next(iter(found.table().values()))
    print("  ".join(["weight", *(f" top-{k}" for k in range(1, len(first) + 1))]))
    for (name, accuracies), weight in zip(found.table().items(), [*(f"{each:.2f}" for each in found.weights), ""], strict=True):
        print("  ".join([f"{weight:>6}", *(f"{100 * each:6.2f}" for each in accuracies), name]))
    best = found.best_stream()
    print(f"against {best} alone: clips repaired {len(found.repaired(best)):,}, broken {len(found.broken(best)):,}")
    print(f"written to {arguments['out']}")


def _predict(rest: Sequence[str]) -> None:
    from amanet.predict import predict

    arguments = function_arguments("predict", predict, rest, clips="raw files in the format of the run's data set, or folders of them")
    predictions = predict(**arguments)
    if arguments["out"] is not None:
        print(f"{len(predictions):,} clips; written to {arguments['out']}")
        return
    for found in predictions:
        print(found.path)
        for name, probability in zip(found.class_names, found.probabilities, strict=True):
            print(f"  {probability:7.2%}  {'#' * round(30 * probability):<30}  {name}")


def _show(rest: Sequence[str]) -> None:
    from amanet.show import show

    for path in show(**function_arguments("show", show, rest)):
        print(path)


def _cost(rest: Sequence[str]) -> None:
    from amanet.cost import cost, report, settings_of

    print(report(cost(**function_arguments("cost", cost, rest, settings_of))))


HANDLERS: dict[str, Callable[[Sequence[str]], None]] = {
    "synthesize": _synthesize,
    "new-dataset": _new_dataset,
    "convert": _convert,
    "prepare": _prepare,
    "inspect": _inspect,
    "train": _train,
    "evaluate": _evaluate,
    "ablate": _ablate,
    "report": _report,
    "fuse": _fuse,
    "predict": _predict,
    "show": _show,
    "cost": _cost,
}
