"""`run`: create or extend an experiment, start its runner, and watch it to its end."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from engines.analysis.report import experiment_document, verdict
from engines.errors import BadInput, HyperionError
from engines.run import orders
from engines.run.launcher import start_runner
from engines.study import adoption, control
from engines.study.location import Location
from engines.study.reader import Reader
from engines.study.records import Experiment, Study
from engines.study.states import FINAL
from hyperion_tui import config, fronts, options, text, words
from hyperion_tui.commands import agents
from hyperion_tui.output import print_json, print_table, talk

POLL_S = 0.1
INTERRUPTED = 130

COSTS = (
    *("fee", "slippage", "spread", "borrow_rate", "funding_rate"),
    *("max_position", "bars_per_year"),
)
"""Options of trading agents."""


def run(arguments: argparse.Namespace, location: Location) -> int:
    """Create, start, and (without --detach) watch; 0 if any study has a score."""
    from engines.run import start  # optuna and SQLAlchemy: only where something is created

    _check_selectors(arguments.selectors)
    request = start.Request(
        selectors=tuple(arguments.selectors),
        data=_data(arguments),
        target=arguments.target,
        time_column=arguments.time_column,
        groups=arguments.groups,
        task=arguments.task,
        horizon=arguments.horizon,
        past_target=arguments.past_target,
        device=arguments.device,
        trials=config.setting("trials", arguments.trials),
        time_s=_or_environment(arguments.time, "OPTIMIZATION_TIMEOUT", options.duration_s),
        workers=config.setting("workers", arguments.workers),
        seed=_or_environment(arguments.seed, "RANDOM_SEED", options.SEED),
        metric=arguments.metric,
        name=arguments.name,
        sampler=arguments.sampler,
        pruner=arguments.pruner,
        patience=arguments.patience,
        min_improvement=arguments.min_improvement,
        trial_time_s=arguments.trial_time,
        trial_memory_mib=arguments.trial_memory,
        sample=arguments.sample,
        costs={name: getattr(arguments, name) for name in COSTS},
        episodes=options.from_environment("TRADING_EPISODES", options.EPISODES),
        space=arguments.space,
        warm_start=arguments.warm_start,
        tell=talk,
    )
    for notice in adoption.notices(location):
        talk(f"note: {notice}.")
    experiment_id = start.create(location, request)
    with contextlib.closing(Reader(location)) as reader:
        orders.forgive(location, reader.experiment(experiment_id))
        start_runner(location, experiment_id)
        experiment = reader.experiment(experiment_id)
        for line in describe_start(experiment):
            talk(line)
        if not arguments.detach:
            return follow(reader, location, experiment_id, as_json=arguments.json)
        talk(f"Running in the background: `hyperion-tui show {experiment.name}`.")
        if arguments.json:
            print_document(reader, experiment)
    return 0


def follow(reader: Reader, location: Location, experiment_id: int, *, as_json: bool) -> int:
    """Watch an experiment to its end or pause and print it; 0 if any study has a score."""
    try:
        experiment = watch(reader, location, experiment_id)
    except KeyboardInterrupt:
        return leave(location, reader.experiment(experiment_id))
    if as_json:
        print_document(reader, experiment)
    else:
        print_ranking(experiment)
    return 0 if any(study.best for study in experiment.studies) else 1


def _check_selectors(selectors: list[str]) -> None:
    for word in selectors:
        if word.endswith(".py"):
            raise BadInput(f"`{word}` is a file: name the function in it too, `{word}:FUNCTION`.")


def _data(arguments: argparse.Namespace) -> str | None:
    """What to learn from: as typed, or as the settings say where models are to learn."""
    if any(":" in word for word in arguments.selectors):
        return arguments.data  # an objective of one's own takes none
    return config.setting("data", arguments.data)


def _or_environment(value, name, parse):
    return value if value is not None else options.from_environment(name, parse)


def describe_start(experiment: Experiment) -> Iterator[str]:
    """What a person should know before the first score: data, split, budget."""
    data, split = experiment.dataset, experiment.split
    if data is not None and experiment.task == agents.TRADING:
        yield from agents.describe_start(experiment, data)
    elif data is not None and split is not None:
        yield (
            f"{experiment.name}: {data.name}, {data.rows} rows x {data.columns} columns, "
            f"target {data.target}, metric {experiment.metric}, seed {experiment.seed}"
        )
        held_out = f"{split['held_out_rows']} rows held out"
        order = f" in time order, embargo {split['embargo_rows']} rows" if split["ordered"] else ""
        folds = f"{split['folds']} {split['kind']} on {split['search_rows']} rows"
        yield f"split: {folds}, {held_out}{order}"
        if split.get("horizon"):
            yield f"forecast: {text.plural(split['horizon'], 'row')} ahead of the last known one"
        if data.group_column is not None:
            yield f"groups: rows with one {data.group_column} stay in one part of the split"
        if data.classes:
            yield words.classes_line(data.classes)
        for notice in data.notices:
            yield f"note: {notice}"
        yield from words.left_out(experiment.left_out)
    else:
        reference = (experiment.objective or {}).get("reference", "?")
        better = "larger" if experiment.maximize else "smaller"
        yield (
            f"{experiment.name}: objective {reference}, {better} is better, seed {experiment.seed}"
        )
    budget = text.plural(experiment.goal, "trial") if experiment.goal else "no limit on trials"
    if experiment.time_limit_s:
        budget += f", {text.duration(experiment.time_limit_s)}"
    studies = text.plural(len(experiment.studies), "study", "studies")
    yield f"{studies}, {budget}, {text.plural(experiment.workers, 'worker')}"


def watch(reader: Reader, location: Location, experiment_id: int) -> Experiment:
    """Show progress on stderr until the experiment ends or is paused; returns how it stands.

    Raises KeyboardInterrupt on Ctrl-C, and HyperionError if its runner is gone for good.
    """
    with _progress() as show:
        seen: int | str = -1
        lost = 0
        while True:
            version = reader.data_version()
            experiment = None
            if version != seen:
                seen = version
                experiment = reader.experiment(experiment_id)
                show(experiment)
            if experiment is None:
                time.sleep(POLL_S)
                lost += 1
                if lost % 20:
                    continue
                experiment = reader.experiment(experiment_id)
            if experiment.state in FINAL or experiment.state == "paused":
                return experiment
            if experiment.is_orphaned:
                start_runner(location, experiment_id)


@contextlib.contextmanager
def _progress():
    """A function that shows an experiment: bars on a terminal, a line a study elsewhere."""
    if not sys.stderr.isatty():
        reported: set[int] = set()

        def report(experiment: Experiment) -> None:
            for study in experiment.studies:
                if study.state in FINAL and study.study_id not in reported:
                    reported.add(study.study_id)
                    talk(f"{study.model}: {study.state}, {_score_line(study)}")

        yield report
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(stderr=True), auto_refresh=False, transient=True) as live:

        def draw(experiment: Experiment) -> None:
            lines = [_bar_line(study) for study in experiment.studies]
            eta = f", {text.duration(experiment.eta_s)} to go" if experiment.eta_s else ""
            done = f"{experiment.finished}/{experiment.goal or '?'} trials{eta}"
            live.update(Text("\n".join([*lines, f"{experiment.state}: {done}"])), refresh=True)

        yield draw


def _bar_line(study: Study) -> str:
    counts = study.counts
    part = counts.finished / counts.goal if counts.goal else 0.0
    total = f"{counts.finished}/{counts.goal}" if counts.goal else str(counts.finished)
    return f"{text.clean(study.model):24.24} {text.bar(part, 24)} {total:>9}  {_score_line(study)}"


def _score_line(study: Study) -> str:
    if study.best is None:
        return study.message or "no score yet"
    if study.front is not None:
        scores = ", ".join(text.number(value) for value in study.best.values)
        return f"knee {scores} of {text.plural(len(study.front.points), 'trial')} on the front"
    held_out = study.best.held_out_score
    shown = "" if held_out is None else f", held-out {text.number(held_out)}"
    return f"best {text.number(study.best.selection_score)}{shown}"


def leave(location: Location, experiment: Experiment) -> int:
    """Ctrl-C: without a terminal the work goes on; with one the person is asked. Returns 130."""
    answer = ""
    if sys.stdin.isatty() and sys.stderr.isatty():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stderr.write("\n[Enter] leave it running   [p] pause   [s] stop: ")
        sys.stderr.flush()
        with contextlib.suppress(KeyboardInterrupt, EOFError):
            answer = sys.stdin.readline().strip().lower()[:1]
    want = {"p": "pause", "s": "stop"}.get(answer)
    if want is not None:
        with contextlib.suppress(HyperionError):
            orders.give(location, [(experiment, s) for s in experiment.studies], want)
        talk(f"{experiment.name} is to be {control.VERBS[want]}; trials in hand finish first.")
    else:
        talk(
            f"{experiment.name} goes on: `hyperion-tui show {experiment.name}`, or "
            f"`hyperion-tui pause {experiment.name}`."
        )
    return INTERRUPTED


def print_document(reader: Reader, experiment: Experiment) -> None:
    """The experiment as JSON."""
    print_json(
        experiment_document(
            experiment,
            lambda s: reader.best_params(s.study_id, s.best.number) if s.best else {},
        )
    )


def print_ranking(experiment: Experiment) -> None:
    """Studies from best to worst, the ensemble and baselines among them, and the verdict below."""
    if experiment.has_several:
        _print_compromises(experiment)
    elif experiment.task == agents.TRADING:
        agents.print_ranking(experiment)
    else:
        _print_models(experiment)
    print(text.clean(verdict(experiment)))
    for line in words.remarks(experiment):
        print(text.clean(line))


def _print_models(experiment: Experiment) -> None:
    rows = [_study_row(study) for study in experiment.studies]
    ensemble = experiment.ensemble
    if ensemble is not None and ensemble.selection_score is not None:
        members = text.plural(len(ensemble.members), "trial")
        scores: list[float | None] = [ensemble.selection_score, ensemble.held_out_score]
        sure = words.held_out_interval(ensemble.evidence)
        rows.append(["ensemble", *scores, sure, members, "ensemble", text.ABSENT])
    for baseline in experiment.baselines:
        scores = [baseline.selection_score, baseline.held_out_score]
        blank = text.ABSENT
        rows.append([baseline.name, *scores, blank, blank, "baseline", blank])
    sign = -1.0 if experiment.maximize else 1.0
    rows.sort(key=lambda row: (row[1] is None, sign * (row[1] or 0.0)))
    headers = ["", "model", experiment.metric, "held-out", "95 %", "trials", "state", "time"]
    print_table(headers, [[rank, *row] for rank, row in zip(_ranks(rows), rows, strict=True)])


def _print_compromises(experiment: Experiment) -> None:
    """Studies of several metrics by their knees; baselines have the first metric alone."""
    rows: list[list[Any]] = [
        [
            str(rank) if study.best else "",
            *(study.model, *fronts.values(experiment, study)),
            study.best.held_out_score if study.best else None,
            words.held_out_interval(study.evidence),
            len(study.front.points) if study.front else None,
            f"{study.counts.finished}/{study.counts.goal or '-'}",
            study.state,
            text.duration(study.train_s),
        ]
        for rank, study in enumerate(experiment.ranked, start=1)
    ]
    blank = [None] * (len(experiment.metrics) - 1)
    for baseline in experiment.baselines:
        scores = [baseline.selection_score, *blank, baseline.held_out_score]
        rows.append(["", baseline.name, *scores, None, None, None, "baseline", None])
    headers = ["", "model", *experiment.metrics, "held-out", "95 %", "front"]
    print_table([*headers, "trials", "state", "time"], rows)


def _ranks(rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """A place for each study with a score; the ensemble and baselines compete with none."""
    places = itertools.count(1)
    for _, score, *_, state, _ in rows:
        ranked = score is not None and state not in ("ensemble", "baseline")
        yield str(next(places)) if ranked else ""


def _study_row(study: Study) -> list[Any]:
    best = study.best
    return [
        study.model,
        best.selection_score if best else None,
        best.held_out_score if best else None,
        words.held_out_interval(study.evidence),
        f"{study.counts.finished}/{study.counts.goal or '-'}",
        study.state,
        text.duration(study.train_s),
    ]
