"""A process that looks at a synthetic store, the stock way or ours, and tells how long it took.

`python bench/_look.py WAY FILE`, one JSON on stdout, times in milliseconds. Imports are done before
the clock starts. Stock is Optuna's public API, as a screen on it would use it:

  stock-study   load_study and get_trials of the first study; then get_trials again, nothing new
  stock-list    get_all_study_summaries
  stock-page    get_trials of some studies, complete ones, sorted by value; cold, then warm
  study         what the app reads to show an experiment: list, events, workers, first page;
                then the poll when nothing was written, and all of it after 11 trials moved
  list          every experiment with counts, best scores and medians
  page          a page of an experiment's trials, of some models and one state, by every order,
                at the start, a quarter, the middle and the end
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

ROWS = 50
EVENTS = 5_000
POLLS = 500
CHANGES = 30
REPEATS = 5


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds, and what came of it."""
    gc.collect()
    began = time.perf_counter()
    result = work()
    return 1000 * (time.perf_counter() - began), result


# -- Optuna's own ------------------------------------------------------------------------------


def stock_study(path: str) -> dict[str, float]:
    """The first study of a store."""
    import optuna

    names = optuna.get_all_study_names(f"sqlite:///{path}")

    def load() -> Any:
        study = optuna.load_study(study_name=names[0], storage=f"sqlite:///{path}")
        return study, study.get_trials(deepcopy=False)

    cold, (study, trials) = timed(load)
    polls = [timed(lambda: study.get_trials(deepcopy=False))[0] for _ in range(REPEATS)]
    return {"first_ms": cold, "poll_ms": median(polls), "trials": len(trials)}


def stock_list(path: str) -> dict[str, float]:
    """All studies of a store."""
    import optuna

    took, found = timed(lambda: optuna.get_all_study_summaries(f"sqlite:///{path}"))
    return {"list_ms": took, "studies": len(found)}


def stock_page(path: str) -> dict[str, float]:
    """A page from the middle of half of the studies."""
    import optuna
    from optuna.trial import TrialState

    names = optuna.get_all_study_names(f"sqlite:///{path}")
    storage = optuna.storages.get_storage(f"sqlite:///{path}")
    studies = [
        optuna.load_study(study_name=name, storage=storage) for name in names[: len(names) // 2]
    ]

    def page() -> int:
        trials = [
            trial
            for study in studies
            for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        ]
        trials.sort(key=lambda trial: trial.value or 0.0, reverse=True)
        return len(trials[len(trials) // 2 :][:ROWS])

    cold, rows = timed(page)
    return {"cold_ms": cold, "warm_ms": median(timed(page)[0] for _ in range(3)), "rows": rows}


# -- ours --------------------------------------------------------------------------------------


def study(path: str) -> dict[str, float]:
    """An experiment of one study: first, when nothing happens, and when something does."""
    from engines.study.location import Location
    from engines.study.reader import Reader
    from hyperion_tui.feed import Feed

    location = Location(Path(path))

    def look(reader: Reader, after: int) -> int:
        reader.data_version()
        (experiment,) = reader.experiments()
        events = reader.events(experiment.experiment_id, after=after, limit=EVENTS)
        reader.workers(experiment.experiment_id)
        page = reader.trials(experiment.studies[0].study_id, descending=True, limit=ROWS)
        assert len(page) == ROWS
        return events[-1].seq if events else after

    def first() -> tuple[Reader, int]:
        reader = Reader(location)
        return reader, look(reader, 0)

    cold, (reader, seq) = timed(first)
    poll, _ = timed(lambda: [reader.data_version() for _ in range(POLLS)])
    feed = Feed(location)
    snapshot = feed.read()
    assert snapshot is not None
    feed.accept(snapshot)
    feed._not_before = 0.0  # the feed's own pause between readings is not what is measured
    due, answers = timed(lambda: [feed.due() for _ in range(POLLS)])
    assert not any(answers)
    changes = []
    for _ in range(CHANGES):
        _change(path)
        took, seq = timed(lambda: look(reader, seq))  # noqa: B023  # called at once
        changes.append(took)
    return {
        "first_ms": cold,
        "poll_ms": poll / POLLS,
        "feed_poll_ms": due / POLLS,
        "change_ms": median(changes),
        "change_max_ms": max(changes),
    }


def _change(path: str) -> None:
    """Ten trials end and one starts, with their events, as another process would write it."""
    from engines.study.sqlite import connect_to_write, writing

    at = datetime.now(UTC).isoformat()
    with (
        contextlib.closing(connect_to_write(Path(path))) as connection,
        writing(connection),
    ):
        ((highest, number),) = connection.execute("SELECT max(trial_id), max(number) FROM hx_trial")
        for step in range(1, 12):
            state = "RUNNING" if step == 11 else "COMPLETE"
            ended = (0.5, 1.0) if step < 11 else (None, None)
            connection.execute(
                "INSERT INTO hx_trial (trial_id, study_id, number, state, value, duration_s, "
                "started_at, requeues, crashes) VALUES (?, 1, ?, ?, ?, ?, ?, 0, 0)",
                (highest + step, number + step, state, *ended, at),
            )
            connection.execute(
                "INSERT INTO hx_event (at, experiment_id, study_id, trial_number, kind, text) "
                "VALUES (?, 1, 1, ?, 'trial_complete', '0.5 (1.0 s)')",
                (at, number + step),
            )


def listing(path: str) -> dict[str, float]:
    """All experiments of a store."""
    from engines.study.location import Location
    from engines.study.reader import Reader

    def look() -> int:
        with contextlib.closing(Reader(Location(Path(path)))) as reader:
            found = [study for experiment in reader.experiments() for study in experiment.studies]
        assert all(s.best and s.median_s and s.counts.finished for s in found)
        return len(found)

    took, studies = timed(look)
    return {
        "list_ms": took,
        "again_ms": median(timed(look)[0] for _ in range(REPEATS)),
        "studies": studies,
    }


def page(path: str) -> dict[str, Any]:
    """Pages of half of the models, complete trials only."""
    from engines.study.location import Location
    from engines.study.pages import TRIAL_ORDERS
    from engines.study.reader import Reader

    location = Location(Path(path))
    began = time.perf_counter()
    with contextlib.closing(Reader(location)) as reader:
        (experiment,) = reader.experiments()
        opened = 1000 * (time.perf_counter() - began)
        studies = experiment.studies[: len(experiment.studies) // 2]
        wanted: dict[str, Any] = {"models": [s.model for s in studies], "states": ["complete"]}
        total = reader.trials_page_count(experiment.experiment_id, **wanted)
        places = {"start": 0, "quarter": total // 4, "middle": total // 2, "end": total - ROWS}
        lines = []
        for order, descending, (place, offset) in itertools.product(
            TRIAL_ORDERS, (True, False), places.items()
        ):
            how = {**wanted, "order": order, "descending": descending, "offset": offset}

            def read() -> int:
                return len(reader.trials_page(experiment.experiment_id, limit=ROWS, **how))  # noqa: B023

            cold, rows = timed(read)
            assert rows == ROWS
            warm = median(timed(read)[0] for _ in range(REPEATS))
            way = "descending" if descending else "ascending"
            lines.append(
                {"order": order, "way": way, "place": place, "cold_ms": cold, "warm_ms": warm}
            )
    value = [line for line in lines if line["order"] == "value"]
    return {
        "opened_ms": opened,
        "total": total,
        "value_ms": max(line["warm_ms"] for line in value),
        "value_cold_ms": max(line["cold_ms"] for line in value),
        "worst_ms": max(line["warm_ms"] for line in lines),
        "lines": lines,
    }


WAYS: dict[str, Callable[[str], dict[str, Any]]] = {
    "stock-study": stock_study,
    "stock-list": stock_list,
    "stock-page": stock_page,
    "study": study,
    "list": listing,
    "page": page,
}


def main() -> None:
    """Look, and tell."""
    way, path = sys.argv[1:]
    if way.startswith("stock"):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
    else:
        import engines.study.reader  # noqa: F401
        import hyperion_tui.feed  # noqa: F401
    print(json.dumps(WAYS[way](path)))


if __name__ == "__main__":
    main()
