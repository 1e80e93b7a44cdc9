"""What a trial costs beside its training: an objective of one's own against a built-in model.

Both are claimed, suggested, "trained" (one formula of three parameters) and ended by the code of a
worker, in one process, in turns, each in a store of its own. `ms` is processor time a trial, the
median of blocks of 20 after a warm-up; what the disk takes is the same for both and not counted.
The bound: an objective of one's own costs at most 1 ms more.

`make bench ONLY=objective`, or: python bench/objective.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import _common
import optuna

from engines.run.trial import StudyHandle, run_custom_trial, run_model_trial
from engines.search.space import Choice, Float, Space
from engines.study import supervision
from engines.study.claims import claim
from engines.study.experiments import ExperimentPlan, StudyPlan, create_or_extend
from engines.study.location import locate
from engines.study.plain import connect_to_write, writing
from engines.study.store import open_storage

BOUND_MS = 1.0
BLOCK, WARM = 20, 2
SPACE = Space(
    {"x": Float(0.0, 1.0), "y": Float(1e-4, 1.0, log=True), "kind": Choice(("a", "b", "c"))}
)


def formula(x: float, y: float, kind: str) -> float:
    """What stands for training."""
    return (x - 0.3) ** 2 + y / 10 + (kind == "a")


def objective(trial: optuna.Trial) -> float:
    """The same space, as a person writes it."""
    return formula(
        trial.suggest_float("x", 0.0, 1.0),
        trial.suggest_float("y", 1e-4, 1.0, log=True),
        trial.suggest_categorical("kind", ["a", "b", "c"]),
    )


class Scored:
    """A trial of a built-in model whose training is the formula."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.value = formula(**params)
        self.metrics = {"folds": [self.value]}

    def scores(self) -> Iterator[float]:
        """One fold."""
        yield self.value


def runner(folder: Path, *, own: bool, sampler: str) -> Callable[[], None]:
    """A function that runs the next trial of a new store."""
    location = locate(str(folder / f"{own}-{sampler}.db"))
    storage = open_storage(location)
    plan = {"portfolio": [{"x": 0.5, "y": 0.1, "kind": "b"}], "weights": [1.0]}
    study = StudyPlan("s", "custom", None, None if own else SPACE, None if own else plan)
    described = {"sha256": "none", "function": "objective"} if own else None
    create_or_extend(storage, _plan(study, described, sampler))
    with writing(connection := connect_to_write(location)):
        worker = supervision.add_worker(connection, 1, 1, 1, 1, "bench")
    connection.close()
    handles: dict[int, StudyHandle] = {}

    def run() -> None:
        job = claim(storage, 1, worker, ())
        assert job is not None
        handle = handles.get(job.study_id)
        if handle is None:
            handle = handles[job.study_id] = StudyHandle(storage, job, 1, sampler, "none")
        if own:
            run_custom_trial(storage, handle, job, lambda: objective)
        else:
            run_model_trial(
                storage, handle, job, lambda params, *_: Scored(params), lambda *_: None
            )

    return run


def _plan(study: StudyPlan, described: dict[str, Any] | None, sampler: str) -> ExperimentPlan:
    return ExperimentPlan(
        name="e",
        task="custom",
        dataset=None,
        objective=described,
        metric="score",
        maximize=False,
        seed=1,
        split=None,
        sampler=sampler,
        pruner="none",
        workers=1,
        patience=None,
        min_improvement=0.0,
        time_limit_s=None,
        trial_time_s=None,
        trial_memory_mib=None,
        studies=(study,),
    )


def measure(folder: Path, sampler: str, blocks: int) -> dict[str, float]:
    """Milliseconds of processor time a trial, in turns."""
    ways = {
        name: runner(folder, own=name == "own", sampler=sampler) for name in ("built-in", "own")
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for block in range(WARM + blocks):
        for name, run in ways.items():
            begun = time.process_time()
            for _ in range(BLOCK):
                run()
            if block >= WARM:
                taken[name].append((time.process_time() - begun) / BLOCK * 1000)
    return {name: median(values) for name, values in taken.items()}


def main() -> int:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two blocks instead of ten")
    parser.add_argument("--json", metavar="FILE", help="write all numbers to FILE")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.disable(logging.WARNING)
    load = _common.load_average()
    print(f"processor time of a trial, in ms: {_common.describe_machine()}")
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        for sampler in ("random", "tpe"):
            found = measure(Path(folder), sampler, 2 if options.quick else 10)
            more = found["own"] - found["built-in"]
            lines.append({"sampler": sampler, **found, "more": more, "held": more <= BOUND_MS})
    _common.print_table(list(lines[0]), [list(line.values()) for line in lines])
    _common.save(options.json, "objective", {"bound_ms": BOUND_MS, "table": lines}, load)
    return 0


if __name__ == "__main__":
    sys.exit(main())
