"""`capabilities`, `data` and `doctor`: what is here, what is not, and what to do about it."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import platform
import shutil
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from engines import plugins
from engines.data.bundled import data_sets
from engines.data.scorers import scorers
from engines.data.scoring import CLASSIFICATION, REGRESSION
from engines.errors import HyperionError
from engines.models import catalogue
from engines.models.spec import TASKS, ModelSpec, is_installed
from engines.run.capacity import default_workers, free_memory_mib, usable_cores
from engines.run.logs import KEPT_DAYS, forget_old
from engines.study import adoption, trash
from engines.study.location import FOLDERS, Location
from engines.study.reader import Reader
from engines.study.records import Experiment
from engines.study.sqlite import connect_to_read
from hyperion_tui import config, text, words
from hyperion_tui.commands import agents
from hyperion_tui.output import print_json, print_table, talk

if TYPE_CHECKING:
    from engines.data.datasets import Dataset

LEAST_SPACE_MIB = 64
"""Less than this on the store's disk is worth a word: a write-ahead log and a few logs take it."""


def capabilities(arguments: argparse.Namespace, _: Location) -> int:
    """`capabilities`: families, models, what is installed, and how to add what is not."""
    specs = catalogue.models().values()
    if arguments.json:
        print_json(
            [
                {
                    "model": spec.name,
                    "family": spec.family,
                    "available": spec.reason_missing is None,
                    "reason": spec.reason_missing,
                    "tasks": [task for task in TASKS if spec.does(task)],
                    "summary": spec.summary,
                }
                for spec in specs
            ]
        )
        return 0
    rows = []
    for family, members in catalogue.families().items():
        here = sum(spec.reason_missing is None for spec in members)
        counts = {task: sum(spec.does(task) for spec in members) for task in TASKS}
        tasks = (f"{task} {count}" for task, count in counts.items() if count)
        rows.append([family, f"{here}/{len(members)}", ", ".join(tasks)])
    print_table(["family", "status", "tasks"], rows)
    print()
    print_table(
        ["model", "family", "does", "what it is"],
        [[spec.name, spec.family, _tasks(spec), spec.summary] for spec in specs],
    )
    for spec in specs:
        if spec.reason_missing is not None:
            print(text.clean(f"{spec.name} {spec.reason_missing}"))
    return 0


def _tasks(spec: ModelSpec) -> str:
    """What a model does, `tables` for all that is learned from one."""
    does = [task for task in TASKS if spec.does(task)]
    return "tables" if {REGRESSION, CLASSIFICATION} <= set(does) else ", ".join(does)


def data_list(arguments: argparse.Namespace, _: Location) -> int:
    """`data list`: the sets that come with the program, and those of other packages."""
    sets = data_sets().values()
    if arguments.json:
        print_json(
            [
                {
                    "name": s.name,
                    "rows": s.rows,
                    "columns": s.columns,
                    "target": s.target,
                    "ordered": s.ordered,
                    "licence": s.licence,
                    "description": s.description,
                }
                for s in sets
            ]
        )
        return 0
    print_table(
        ["name", "rows", "columns", "target", "order", "licence", "what it is"],
        [
            [
                *(s.name, s.rows, s.columns, s.target, "in time" if s.ordered else "none"),
                *(s.licence, s.description),
            ]
            for s in sets
        ],
    )
    talk(
        "Your own: --data FILE.csv or FILE.parquet; look first with `hyperion-tui data check FILE`."
    )
    return 0


def data_check(arguments: argparse.Namespace, _: Location) -> int:
    """`data check FILE`: findings by line, and models that can't be used; 2 if it is no data."""
    from engines.data.checks import Finding, check_file
    from engines.data.past import Asked

    asked = Asked(arguments.task, arguments.horizon, arguments.past_target)
    report = check_file(
        arguments.file,
        arguments.target,
        arguments.time_column,
        task=asked.table_task,
        groups=arguments.groups,
        forecast=asked.horizon is not None,
    )
    found, dataset = list(report.findings), report.dataset
    unfit, expected_s = dict[str, str](), dict[str, float]()
    if dataset is not None:
        try:
            dataset = asked.of(dataset)
            unfit, expected_s = _models(dataset, arguments)
        except HyperionError as error:
            found.append(Finding("error", "file", str(error)))
    ok = not any(finding.severity == "error" for finding in found)
    if arguments.json:
        print_json(
            {
                "source": str(report.source),
                "ok": ok,
                "findings": [
                    {"severity": f.severity, "where": f.where, "text": f.text} for f in found
                ],
                "data": _data_document(dataset),
                "unfit": unfit,
                "expected_s": expected_s,
            }
        )
        return 0 if ok else 2
    for finding in found:
        where = f"{finding.where}: " if finding.where else ""
        print(text.clean(f"{finding.severity:7} {where}{finding.text}"))
    if arguments.task == agents.TRADING:
        print("models  rl_agents; what predicts a column does not trade")
    for line in words.left_out(unfit) if arguments.task != agents.TRADING else ():
        print(text.clean(f"models  {line}"))
    return 0 if ok else 2


def _models(
    dataset: Dataset, arguments: argparse.Namespace
) -> tuple[dict[str, str], dict[str, float]]:
    """Why models can't be used on these data, and how long a trial of the others should take.

    Both by model, the seconds of models' defaults on one core; none for agents. Raises BadInput
    as `run` would.
    """
    from engines.data.facts import check_metric, data_facts
    from engines.data.scoring import FIT_TIME, find_metrics
    from engines.data.splits import split_dataset
    from engines.run.metric_package import named_metric

    if dataset.task == agents.TRADING:
        return agents.unfit_models(dataset, arguments.metric), {}
    split = split_dataset(dataset, arguments.seed)
    if arguments.metric is not None and named_metric(arguments.metric) is None:
        for metric in find_metrics(arguments.metric, dataset.task):
            if metric is not FIT_TIME:
                check_metric(metric, dataset, split)
    facts = {**data_facts(dataset, split), "folds": len(split.folds)}
    unfit, expected_s = dict[str, str](), dict[str, float]()
    for name, spec in catalogue.models().items():
        reason = spec.reason_unfit(dataset.task, facts)
        if reason is not None:
            unfit[name] = reason
        else:
            form = spec.form(dataset.task, past=arguments.past_target)
            expected_s[name] = form.expected_s(facts)
    return unfit, expected_s


def _data_document(dataset: Dataset | None) -> dict[str, object] | None:
    from engines.data.times import span

    if dataset is None:
        return None
    times = dataset.times
    return {
        "name": dataset.name,
        "sha256": dataset.sha256,
        "rows": dataset.rows,
        "columns": len(dataset.features),
        "target": dataset.target,
        "time_column": dataset.time_column,
        "span": None if times is None else span(int(times[0]), int(times[-1])),
        "task": dataset.task,
        "classes": list(dataset.classes),
    }


def doctor(arguments: argparse.Namespace, location: Location) -> int:
    """`doctor`: is the installation whole, the store sound, and is anything left behind?"""
    if arguments.where:
        return _where(arguments, location)
    findings = [*_installation(), *_machine(), *_settings(), *_store(location)]
    if arguments.clean:
        findings += _clean(location)
    if arguments.json:
        print_json([{"check": c, "ok": ok, "finding": finding} for c, ok, finding in findings])
    else:
        for check, ok, finding in findings:
            print(text.clean(f"{'ok  ' if ok else 'BAD '} {check}: {finding}"))
    return 0 if all(ok for _, ok, _ in findings) else 1


Finding = tuple[str, bool, str]


def _installation() -> list[Finding]:
    packages = [importlib.import_module(n) for n in ("hyperion_tui", "engines", "simulator")]
    versions = {getattr(p, "__version__", None) for p in packages}
    parents = {Path(p.__file__ or "").resolve().parent.parent for p in packages}
    whole = len(versions) == 1 and len(parents) == 1
    where = f"version {packages[0].__version__} in {', '.join(map(str, sorted(parents)))}"
    if not whole:
        where += (
            ": another package has replaced `engines` or `simulator`; install hyperion-tui in an "
            "environment of its own (pipx install hyperion-tui)"
        )
    missing = [s for s in catalogue.models().values() if s.reason_missing is not None]
    here = len(catalogue.models()) - len(missing)
    optional = "".join(f"; {spec.name} {spec.reason_missing}" for spec in missing)
    return [
        ("packages", whole, where),
        ("python", sys.version_info[:2] >= (3, 11), platform.python_version()),
        ("models", True, f"{here} of {len(catalogue.models())} can run{optional}"),
        ("parquet", is_installed("pyarrow"), "pyarrow"),
        *_added(),
    ]


def _added() -> list[Finding]:
    """What other packages add by entry points, and what of it can't be used."""
    for find in (catalogue.models, scorers, data_sets):
        find()
    packages = {package: ", ".join(names) for package, names in plugins.added().items()}
    told = [("added", True, f"{names} by {package}") for package, names in packages.items()]
    return [*told, *(("added", False, str(broken)) for broken in plugins.broken())]


def _machine() -> list[Finding]:
    cores, memory = usable_cores(), free_memory_mib()
    room = f"{cores} cores, {memory / 1024:.1f} GiB free: {default_workers()} workers by default"
    return [("machine", True, room)]


def _settings() -> list[Finding]:
    try:
        config.effective()
    except HyperionError as error:
        return [("settings", False, str(error))]
    file = config.path()
    return [("settings", True, str(file))] if file.exists() else []


def _store(location: Location) -> list[Finding]:
    if not location.may_exist:
        return [("store", True, f"{location.shown} does not exist yet; the first run makes it")]
    try:
        with contextlib.closing(Reader(location)) as reader:
            experiments, deleted = reader.experiments(), reader.trash()
            orphans = [e.name for e in experiments if e.is_orphaned]
            note = f"; {reader.note}" if reader.note else ""
        times = adoption.times_notice(location)
    except HyperionError as error:
        return [("store", False, str(error))]
    number = text.plural(len(experiments), "experiment")
    found: list[Finding] = [("store", True, f"{location.shown}: {number}{note}")]
    if location.is_file:
        found += [_integrity(location.path), _mode(location.path), _space(location.path)]
    found += [*_beside(location, [*experiments, *deleted]), *_in_trash(deleted)]
    if times is not None:
        found.append(("times", True, times))
    if orphans:
        names = ", ".join(orphans)
        found.append(("runners", False, f"{names}: no runner; `hyperion-tui resume NAME`"))
    return found


def _integrity(path: Path) -> Finding:
    try:
        with contextlib.closing(connect_to_read(path)) as connection:
            word = connection.execute("PRAGMA quick_check").fetchone()[0]
    except (sqlite3.Error, HyperionError) as error:
        word = str(error)
    return ("integrity", word == "ok", word)


def _space(path: Path) -> Finding:
    free = shutil.disk_usage(path.parent).free / 1024**2
    enough = free >= LEAST_SPACE_MIB
    told = (
        "" if enough else ": free some; what runs waits when the disk is full and goes on by itself"
    )
    return ("space", enough, f"{free:,.0f} MiB free{told}".replace(",", " "))


def _mode(path: Path) -> Finding:
    mode = path.stat().st_mode & 0o777
    private = not mode & 0o077
    return ("permissions", private, f"{mode:04o}" + ("" if private else f": chmod 600 {path}"))


_HOLDS = {"run": "locks", "artefacts": "models"}
"""What folders beside the store hold, where their names don't say it."""


def _where(arguments: argparse.Namespace, location: Location) -> int:
    paths = {
        "store": location.shown,
        "beside it": location.side,
        **{_HOLDS.get(kind, kind): location.side / kind for kind in FOLDERS},
        "settings": config.path(),
        "program": Path(__file__).resolve().parent.parent,
    }
    if arguments.json:
        print_json({name: str(path) for name, path in paths.items()})
    else:
        print_table(["what", "where"], [[name, str(path)] for name, path in paths.items()])
    return 0


def _clean(location: Location) -> list[Finding]:
    """Remove folders of experiments that are no longer in the store, and old logs."""
    freed = trash.remove_orphans(location)
    logs = text.plural(forget_old(location.side / "logs"), "log")
    found = f"{text.size(freed)} freed; {logs} older than {KEPT_DAYS} days removed"
    return [("clean", True, found)]


def _beside(location: Location, experiments: Iterable[Experiment]) -> list[Finding]:
    """What lies beside the store: how much, and what of it nobody needs."""
    sizes = [(kind, trash.size(location.side / kind)) for kind in FOLDERS]
    parts = ", ".join(f"{kind} {text.size(bytes_)}" for kind, bytes_ in sizes if bytes_)
    found: list[Finding] = [("beside it", True, parts or "nothing")]
    left = trash.orphans(location, {e.experiment_id for e in experiments})
    if left:
        room = text.size(sum(map(trash.size, left)))
        told = f"{text.plural(len(left), 'folder')} of no experiment ({room}): doctor --clean"
        found.append(("left behind", True, told))
    return found


def _in_trash(deleted: Sequence[Experiment]) -> list[Finding]:
    names = ", ".join(e.name for e in deleted[:5]) + (", ..." if len(deleted) > 5 else "")
    told = f"{names}: `hyperion-tui restore NAME` or `purge NAME`"
    return [("trash", True, told)] if deleted else []
