"""The verbs, and what they take from the command line and from files of settings; what is wrong in it is said in one line."""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

VERBS = {
    "synthesize": "make people acting: raw .skeleton files to try everything on",
    "new-dataset": "write a small example of a data set of your own, to fill with your clips",
    "convert": "write the clips of another tool (openpose, coco, mmpose, ultralytics, mediapipe, pyskl) as a data set of your own",
    "prepare": "read a raw archive or folder into a store that trains fast",
    "inspect": "see what the clips of a store are like, and the strangest of them",
    "train": "train one stream of a network, or go on with a stopped run",
    "evaluate": "score a trained run on its test part",
    "ablate": "train and compare the rows of a table of the paper, or of your own",
    "report": "gather the tables of ablations on a page, with the paper's claims weighed",
    "fuse": "join the scores of several streams into one result",
    "predict": "name the actions in raw clips",
    "show": "draw a run, a stored clip or a raw file",
    "cost": "count a network's weights and operations, and time it here",
}


def make_parser(verb: str, *takers: Callable[..., Any], of_experiment: Callable[..., object] | None = None) -> "ArgumentParser":
    """A parser for what functions and dataclasses take, which the caller adds to it.

    Where ``of_experiment`` is given, the file of an experiment will do too, and it says what that makes of its settings.
    """
    from inspect import signature

    import yaml
    from jsonargparse import ActionConfigFile, ArgumentParser  # pyright: ignore[reportPrivateImportUsage]

    from amanet.settings_file import check_places, read_settings

    expected = {name: parameter for taker in takers for name, parameter in signature(taker).parameters.items()}

    class ConfigFile(ActionConfigFile):
        """A file that is looked at before its values are taken."""

        def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
            if Path(values).is_file():
                plain = read_settings(Path(values), "these settings")
                if of_experiment and isinstance(plain, dict) and "benchmark" in plain:
                    values = yaml.safe_dump(of_experiment(plain, Path(values)))
                else:
                    check_places(expected, plain, Path(values))
            super().__call__(parser, cfg, values, option_string)

    class Parser(ArgumentParser):
        """One that looks at what a flag for a whole table said, too."""

        def parse_args(self, *args: Any, **options: Any) -> Any:
            found = super().parse_args(*args, **options)
            check_places(expected, found.as_dict())
            return found

    parser = Parser(prog=f"amanet {verb}", description=VERBS[verb.partition(" ")[0]], exit_on_error=False, allow_abbrev=False)
    kind = "a YAML file, also that of an experiment as in configs/" if of_experiment else "a YAML file"
    parser.add_argument("--config", action=ConfigFile, help=f"settings from {kind}; flags after it take precedence")
    return parser


def function_arguments(
    verb: str, function: Callable[..., Any], rest: Sequence[str], of_experiment: Callable[..., object] | None = None, **many: str
) -> dict[str, Any]:
    """The arguments of a function from the command line: required ones by place, ``many`` of them one or more, the others as flags."""
    parser = make_parser(verb, function, of_experiment=of_experiment)
    parser.add_function_arguments(function, as_positional=True, skip=set(many))
    for name, description in many.items():
        parser.add_argument(name, nargs="+", type=Path, help=description)
    found = parse(parser, rest).as_dict()
    found.pop("config", None)
    return found


def parse(parser: "ArgumentParser", rest: Sequence[str], cure: str | None = None) -> "Namespace":
    """The arguments as values of their types: dataclasses, paths, numbers. A wrong one is said in one line, with what to do."""
    from jsonargparse import ArgumentError

    try:
        return cast("Namespace", parser.instantiate(parser.parse_args(list(rest))))
    except (ArgumentError, OverflowError) as error:
        print(f"{parser.prog}: {_plain(str(error))}\n  what to do: {cure or f'see {parser.prog} --help'}", file=sys.stderr)
        raise SystemExit(2) from error


def _plain(said: str) -> str:
    """What the parser says of an argument, without the words of a programmer."""
    said = re.sub(r'Parser key "([^"]+)":\s+', r"\1: ", said).replace("Expected a <class 'tuple'>", 'Expected a list, as in "[1, 5]"')
    return re.sub(r"Expected a typing\.Literal\[(.*?)\]", lambda words: f"Expected one of {words[1].replace(chr(39), '')}", said)
