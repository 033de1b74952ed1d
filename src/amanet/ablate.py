"""The verb ``ablate``: every row of a table of the paper, or of one's own, trained and compared."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from amanet.ablations.pool import is_finished, train_all
from amanet.ablations.result import RowResult, SeedResult, TableResult
from amanet.ablations.table import Row, Table, load_table, table_names
from amanet.cost import count_operations
from amanet.data.dataset import held_out_part, split_rows
from amanet.data.published import get_benchmark
from amanet.data.store import ClipStore
from amanet.errors import ExperimentError, RunError
from amanet.experiment import Experiment, Machine, to_plain
from amanet.fusion import join, top_accuracies
from amanet.metrics import Scores, scores_file
from amanet.model import Network
from amanet.system.places import make_folder, write_file
from amanet.trained import check_store, load_trained

Wanted = dict[tuple[str, int, str], Experiment]
"""Experiments by row, seed and benchmark."""


def ablate(
    table: str,
    out: Path,
    experiment: Experiment,
    machine: Machine = Machine(),
    *,
    seeds: tuple[int, ...] = (0, 1),
    folds: tuple[str, ...] = (),
    jobs: int = 1,
) -> list[TableResult]:
    """Train the rows of a table that are not trained yet, and write the table.

    Runs lie in ``OUT/runs`` and are shared by all tables that need them: one of equal settings is trained once. Stopped at any moment, the
    same command goes on where it was. The table goes to ``OUT/TABLE.md``, and with all numbers to ``OUT/TABLE.json``.

    Args:
        table: ``table1`` to ``table9``, ``fig7``, ``choices``, ``all`` of them, or a YAML file with a table of your own.
        out: folder for runs and tables.
        experiment: what the table leaves open: data, sampling, recipe, width.
        machine: where each training computes.
        seeds: a run for each; the table shows their mean and standard deviation.
        folds: benchmarks to average over, as the five folds of SBU; only the experiment's own where none are named.
        jobs: trainings at once.

    Raises:
        ExperimentError: a table or one of its settings does not exist, or the store does not hold the benchmark's clips.
        StoreError: the store cannot be read.
        RunError: trainings failed, and the tables are written without them; or a run was trained on a store of another kind.
    """
    if not seeds or jobs < 1:
        raise ExperimentError("there is nothing to train", expected="one seed or more, one job or more", got=f"seeds {seeds}, {jobs} jobs")
    for name, chosen in (("seeds", seeds), ("folds", folds)):
        if len(set(chosen)) < len(chosen):
            raise ExperimentError(f"{name} are each trained once", expected="none of them twice", got=chosen)
    experiment = replace(experiment, store=experiment.store.absolute())
    benchmarks = folds or (experiment.benchmark,)
    tables = [load_table(name).on(benchmarks[0]) for name in (table_names() if table == "all" else [table])]
    store = ClipStore.open(experiment.store)
    parts = [held_out_part(split_rows(store, get_benchmark(benchmark), experiment.validation_performers)) for benchmark in benchmarks]
    if len(set(parts)) > 1:
        got = ", ".join(f"{part} of {benchmark}" for benchmark, part in zip(benchmarks, parts, strict=True))
        raise ExperimentError("folds are measured on the same part", expected="clips for validation in all of them or in none", got=got)
    wanted = {each.name: _experiments(each, experiment, seeds, benchmarks) for each in tables}
    trained = [each for experiments in wanted.values() for each in experiments.values()]
    trained.sort(key=lambda each: seeds.index(each.seed))  # all tables of one seed come before the next seed
    runs = {run_folder(out, each): each for each in trained}
    for run in filter(is_finished, runs):
        check_store(load_trained(run)[1], store, run)
    make_folder(out)
    failed = train_all(runs, machine, jobs)
    found = [_result(each, wanted[each.name], out, seeds, benchmarks, parts[0], store.recipe) for each in tables]
    for result in found:
        write_file(out / f"{result.table.name}.json", json.dumps(to_plain(result), indent=1).encode())
        write_file(out / f"{result.table.name}.md", result.markdown().encode())
    if failed:
        run, reason = next(iter(failed.items()))
        raise RunError(
            f"{len(failed)} of {len(runs)} trainings failed; the tables are written without them",
            where=run,
            got=reason,
            cure="mend what the log of each says and give the same command again",
        )
    return found


def run_folder(out: Path, experiment: Experiment) -> Path:
    """The folder of an experiment: its stream, seed, and the hash of all settings that are not the default.

    So a run stays where it is when a later version has more settings.
    """
    default = to_plain(Experiment(benchmark=experiment.benchmark, store=experiment.store))
    digest = hashlib.sha256(json.dumps(_changed(to_plain(experiment), default), sort_keys=True).encode()).hexdigest()[:10]
    return out / "runs" / f"{experiment.benchmark}-{experiment.stream}-{digest}-seed{experiment.seed}"


def _changed(plain: dict[str, Any], default: dict[str, Any]) -> dict[str, Any]:
    """The settings that differ from the default, nested as they were."""
    pairs = {name: (value, default[name]) for name, value in plain.items() if value != default[name]}
    return {name: _changed(value, other) if isinstance(value, dict) else value for name, (value, other) in pairs.items()}


def _experiments(table: Table, start: Experiment, seeds: Sequence[int], benchmarks: Sequence[str]) -> Wanted:
    trained = [row for row in table.rows if not row.fuse]
    return {
        (row.name, seed, benchmark): table.experiment(row, start, seed, benchmark)
        for seed in seeds
        for row in trained
        for benchmark in benchmarks
    }


def _result(
    table: Table, wanted: Wanted, out: Path, seeds: Sequence[int], benchmarks: Sequence[str], part: str, normalisation: str
) -> TableResult:
    example = next(iter(wanted.values()))
    rows = [_row_result(table, row, wanted, out, seeds, benchmarks, part) for row in table.rows if not row.hidden]
    return TableResult(table, tuple(rows), tuple(benchmarks), tuple(seeds), part, _clips(out, rows, part), example, normalisation)


def _clips(out: Path, rows: Sequence[RowResult], part: str) -> int:
    """How many different clips were scored for a row."""
    runs = next((row.seeds[0].runs for row in rows if row.seeds), ())
    return len({clip for run in runs for clip in Scores.read(scores_file(out / "runs" / run, part)).sample})


def _row_result(table: Table, row: Row, wanted: Wanted, out: Path, seeds: Sequence[int], benchmarks: Sequence[str], part: str) -> RowResult:
    """The numbers of a row for every seed whose runs are all there."""
    names = [member.name for member in table.members(row)]
    found: list[SeedResult] = []
    for seed in seeds:
        by_benchmark = [[run_folder(out, wanted[name, seed, benchmark]) for name in names] for benchmark in benchmarks]
        if all(is_finished(run) for runs in by_benchmark for run in runs):
            found.append(_seed_result(seed, names, by_benchmark, part))
    members = [wanted[name, seeds[0], benchmarks[0]] for name in names]
    costs = [_cost(member) for member in members]
    return RowResult(row.name, row.paper, sum(cost[0] for cost in costs), sum(cost[1] for cost in costs), tuple(found))


def _seed_result(seed: int, names: Sequence[str], by_benchmark: Sequence[Sequence[Path]], part: str) -> SeedResult:
    """Accuracies as means over the benchmarks; of runs that are joined, the clips that this changed in all of them."""
    top: list[tuple[float, ...]] = []
    repaired: list[str] = []
    broken: list[str] = []
    for runs in by_benchmark:
        streams = {name: Scores.read(scores_file(run, part)) for name, run in zip(names, runs, strict=True)}
        joined = streams[names[0]]
        if len(streams) > 1:
            fusion = join(streams)
            joined, best = fusion.fused, fusion.best_stream()
            repaired += fusion.repaired(best)
            broken += fusion.broken(best)
        top.append(top_accuracies(joined))
    used = tuple(run.name for runs in by_benchmark for run in runs)
    return SeedResult(seed, tuple(np.mean(top, axis=0).tolist()), used, tuple(repaired), tuple(broken))


def _cost(experiment: Experiment) -> tuple[int, float]:
    """Parameters, and operations of one clip, of an experiment's network."""
    store = ClipStore.open(experiment.store)
    bodies = experiment.sampling.bodies
    network = Network(experiment.network, store.layout, len(store.class_names), bodies, experiment.stream)
    joints = torch.zeros(1, bodies, experiment.sampling.frames, store.layout.num_joints, store.layout.num_coords)
    weights = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    return weights, count_operations(network, joints)["all"]
