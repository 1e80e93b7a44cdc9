"""What screens ask again and again: pages of trials, and tallies that follow the trials."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from engines.study.experiments import create_or_extend
from engines.study.location import Location
from engines.study.pages import MOST_MERGED, TRIAL_ORDERS, Window, page_of_ids
from engines.study.plain import connect_to_write, writing
from engines.study.reader import OPTUNA_WORDS, Reader
from engines.study.records import Study, Trial
from engines.study.states import TRIAL_WORDS
from engines.study.tallies import RECENT
from tests.postgres import copy_store
from tests.unit.building import asking, experiment_plan, new_store, opened, rows, study_plan

MODELS = ("a", "b", "c")
STATE_FILTERS: tuple[tuple[str, ...], ...] = (
    (),
    ("complete",),
    ("failed", "running"),
    ("complete", "pruned", "failed"),
    ("waiting",),
)
COLUMNS = ("trial_id", "study_id", "number", "state", "value", "duration_s")


def a_store(path: Path) -> Location:
    """Two experiments of three models, 60 trials each: in every state, with equal values."""
    location = new_store(path)
    plans = [study_plan(model, goal=None, defaults=None) for model in MODELS]
    with opened(location) as storage:
        create_or_extend(storage, experiment_plan(*plans, name="up"))
        create_or_extend(storage, experiment_plan(*plans, name="down", maximize=False))
    rng = random.Random(3)
    with writing_to(location) as change:
        ids = itertools.count(1)
        for number, study_id in itertools.product(range(20), range(1, 7)):
            change(insert_trial(next(ids), study_id, number, rng.choice(list(TRIAL_WORDS)), rng))
    return location


Change = Callable[[tuple[str, Sequence[Any]]], None]


@contextlib.contextmanager
def writing_to(location: Location) -> Iterator[Change]:
    """One write transaction, statement by statement."""
    with (
        contextlib.closing(connect_to_write(location)) as connection,
        writing(connection) as transaction,
    ):

        def change(statement: tuple[str, Sequence[Any]]) -> None:
            transaction.execute(*statement)

        yield change


def insert_trial(
    trial_id: int, study_id: int, number: int, state: str, rng: random.Random
) -> tuple[str, list[Any]]:
    """The row of a trial, with few different values so that many are equal."""
    ended = state not in ("RUNNING", "WAITING")
    value = rng.choice((0.25, 0.5, 0.75)) if state in ("COMPLETE", "PRUNED") else None
    seconds = rng.choice((0.5, 1.0, 2.0)) if ended else None
    return (
        "INSERT INTO hx_trial (trial_id, study_id, number, state, value, duration_s, requeues, "
        "crashes) VALUES (?, ?, ?, ?, ?, ?, 0, 0)",
        [trial_id, study_id, number, state, value, seconds],
    )


@pytest.fixture(scope="module")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Location:
    return a_store(tmp_path_factory.mktemp("screen") / "s.db")


def expected(
    location: Location,
    study_ids: Sequence[int],
    states: Sequence[str],
    order: str,
    descending: bool,
) -> list[int]:
    """The ids of the trials in their order, sorted by Python."""
    wanted = {OPTUNA_WORDS[word] for word in states or OPTUNA_WORDS}
    names = ", ".join(COLUMNS)
    found = [
        dict(zip(COLUMNS, row, strict=True))
        for row in rows(location, f"SELECT {names} FROM hx_trial")
    ]
    found = [row for row in found if row["study_id"] in study_ids and row["state"] in wanted]
    key = TRIAL_ORDERS[order]
    ties = sorted(found, key=lambda r: (r["number"], r["study_id"]), reverse=descending)
    known = [r for r in ties if r[key] is not None]
    # Python keeps the order of equals when it sorts in reverse, too.
    known.sort(key=lambda r: r[key], reverse=descending)
    return [r["trial_id"] for r in known + [r for r in ties if r[key] is None]]


def ids(trials: Sequence[Trial]) -> list[int]:
    return [trial.trial_id for trial in trials]


@pytest.mark.parametrize("states", STATE_FILTERS, ids="-".join)
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order", TRIAL_ORDERS)
def test_pages_put_together_are_the_sorted_and_filtered_whole(
    populated: Location, order: str, descending: bool, states: tuple[str, ...]
) -> None:
    with asking(populated) as reader:
        for models, study_ids in (((), (1, 2, 3)), (("c", "a"), (1, 3)), (("b",), (2,))):
            whole = expected(populated, study_ids, states, order, descending)
            how: dict[str, Any] = {"order": order, "descending": descending, "states": states}
            pages = [
                reader.trials_page(1, models=models, limit=7, offset=offset, **how)
                for offset in range(0, len(whole) + 7, 7)
            ]

            assert [trial_id for page in pages for trial_id in ids(page)] == whole
            assert ids(reader.trials_page(1, models=models, **how)) == whole
            assert reader.trials_page_count(1, models=models, states=states) == len(whole)
            if len(study_ids) == 1:
                one = reader.trials(2, limit=5, offset=len(whole) - 4, **how)
                assert ids(one) == whole[max(0, len(whole) - 4) :]
                assert reader.trial_count(2, states) == len(whole)


def test_a_server_gives_the_same_pages_and_tallies(populated: Location, postgres_url: str) -> None:
    server = copy_store(populated, postgres_url)
    with asking(populated) as here, asking(server) as there:
        assert stand(there) == stand(here)
        for order, descending, states in itertools.product(
            TRIAL_ORDERS, (False, True), STATE_FILTERS
        ):
            how: dict[str, Any] = {"order": order, "descending": descending, "states": states}
            for offset in (0, 10, 30):
                page = there.trials_page(1, limit=9, offset=offset, **how)
                assert page == here.trials_page(1, limit=9, offset=offset, **how)
        with writing_to(server) as change:
            change(insert_trial(1000, 2, 1000, "COMPLETE", random.Random(1)))
            change(("UPDATE hx_trial SET state = 'WAITING' WHERE state = 'RUNNING'", ()))
        with asking(server) as afresh:
            assert stand(there) == stand(afresh) != stand(here)


def test_an_unknown_model_or_experiment_has_no_trials(populated: Location) -> None:
    with asking(populated) as reader:
        assert reader.trials_page(1, models=["z"]) == []
        assert reader.trials_page(99) == []
        assert reader.trials_page_count(99) == 0


@pytest.mark.parametrize("studies", [(1,), (1, 2, 3)])
@pytest.mark.parametrize("states", [(), ("COMPLETE",), ("COMPLETE", "PRUNED", "FAIL")])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order", TRIAL_ORDERS)
def test_no_page_sorts_rows_or_reads_those_it_skips(
    populated: Location,
    order: str,
    descending: bool,
    states: tuple[str, ...],
    studies: tuple[int, ...],
) -> None:
    for window in (Window(50, 100, 100_000), Window(50, 90_000, 100_000)):
        sql, values = page_of_ids(
            studies, states, order=order, descending=descending, window=window
        )
        plan = [row[3] for row in rows(populated, f"EXPLAIN QUERY PLAN {sql}", *values)]

        assert not [step for step in plan if "TEMP B-TREE" in step]
        reads = [step for step in plan if "hx_trial" in step]
        assert len(reads) >= len(studies)
        assert all("SEARCH hx_trial USING COVERING INDEX" in step for step in reads)


def test_a_page_behind_the_middle_is_read_from_the_end() -> None:
    near, far = Window(50, 40_000, 100_000), Window(50, 90_000, 100_000)
    assert (near.from_the_end, near.bounds()) == (False, (50, 40_000))
    assert (far.from_the_end, far.bounds()) == (True, (50, 9_950))
    assert Window(50, 99_980, 100_000).bounds() == (20, 0)
    assert not Window(None, 99_980, 100_000).from_the_end


def test_more_studies_than_a_statement_can_merge_are_sorted(populated: Location) -> None:
    many = list(range(1, MOST_MERGED + 10))
    sql, values = page_of_ids(
        many, ("COMPLETE",), order="value", descending=True, window=Window(20, 3, 1000)
    )

    found = [row[0] for row in rows(populated, sql, *values)]

    assert found == expected(populated, many, ["complete"], "value", True)[3:23]


# -- tallies ---------------------------------------------------------------------------------


def stand(reader: Reader) -> list[tuple[Any, ...]]:
    """All that comes from tallies."""
    return [_figures(study) for e in reader.experiments() for study in e.studies]


def _figures(study: Study) -> tuple[Any, ...]:
    best = study.best and (study.best.number, study.best.selection_score)
    return (study.name, study.counts, best, pytest.approx(study.train_s), study.median_s)


def test_tallies_are_what_plain_counting_finds(populated: Location) -> None:
    with asking(populated) as reader:
        experiments = reader.experiments()
    for experiment in experiments:
        for study in experiment.studies:
            found = rows(
                populated,
                "SELECT state, number, value, duration_s FROM hx_trial WHERE study_id = ?",
                study.study_id,
            )
            counts = Counter(TRIAL_WORDS[row[0]] for row in found)
            assert {word: getattr(study.counts, word) for word in counts} == counts
            values = [(row[2], -row[1]) for row in found if row[0] == "COMPLETE"]
            best = max(values) if experiment.maximize else min((v, -n) for v, n in values)
            assert study.best is not None
            assert (study.best.selection_score, study.best.number) == (best[0], abs(best[1]))
            seconds = sorted(row[3] for row in found if row[3] is not None)
            assert study.train_s == pytest.approx(sum(seconds))
            assert study.median_s == seconds[len(seconds) // 2]


def test_a_pruned_trial_is_never_best(tmp_path: Path) -> None:
    location = a_store(tmp_path / "s.db")
    with asking(location) as reader:
        before = stand(reader)
        with writing_to(location) as change:
            change(insert_trial(900, 1, 900, "PRUNED", random.Random(1)))
            change(("UPDATE hx_trial SET value = 99.0 WHERE trial_id = 900", ()))
        with asking(location) as afresh:
            assert [f[2] for f in stand(reader)] == [f[2] for f in stand(afresh)]
            assert [f[2] for f in stand(afresh)] == [f[2] for f in before]


@pytest.mark.parametrize("seed", range(4))
def test_a_reader_that_follows_agrees_with_one_that_counts_afresh(
    tmp_path: Path, seed: int
) -> None:
    location = a_store(tmp_path / "s.db")
    rng = random.Random(seed)
    new = itertools.count(500)
    with asking(location) as following:
        stand(following)
        for _ in range(25):
            with writing_to(location) as change:
                for _ in range(rng.randrange(1, 4)):
                    change(rng.choice(CHANGES)(new, rng))
            with asking(location) as afresh:
                assert stand(following) == stand(afresh)


def _add(new: Iterator[int], rng: random.Random) -> tuple[str, Sequence[Any]]:
    number = next(new)
    return insert_trial(number, rng.randrange(1, 7), number, rng.choice(list(TRIAL_WORDS)), rng)


def _end(new: Iterator[int], rng: random.Random) -> tuple[str, Sequence[Any]]:
    return (
        "UPDATE hx_trial SET state = 'COMPLETE', value = ?, duration_s = ? WHERE trial_id = "
        "(SELECT min(trial_id) FROM hx_trial WHERE state = 'RUNNING')",
        (rng.random(), rng.random()),
    )


def _move(new: Iterator[int], rng: random.Random) -> tuple[str, Sequence[Any]]:
    old, now = rng.sample(("RUNNING", "WAITING"), 2)
    pick = f"SELECT max(trial_id) FROM hx_trial WHERE state = '{old}'"
    return (f"UPDATE hx_trial SET state = '{now}' WHERE trial_id = ({pick})", ())


def _delete(new: Iterator[int], rng: random.Random) -> tuple[str, Sequence[Any]]:
    return ("DELETE FROM hx_trial WHERE study_id = ? AND number > ?", (rng.randrange(1, 7), 15))


def _add_late(new: Iterator[int], rng: random.Random) -> tuple[str, Sequence[Any]]:
    """A trial of stock Optuna's, whose row of ours comes when later ones are there."""
    number = next(new)
    return insert_trial(-number, rng.randrange(1, 7), number, "COMPLETE", rng)


CHANGES = (_add, _end, _move, _delete, _add_late)


def test_what_a_trial_changes_is_read_in_one_small_statement(populated: Location) -> None:
    asked: list[tuple[str, int]] = []
    with asking(populated) as reader:
        ask = reader._tallies._ask

        def listen(sql: str, values: Sequence[Any]) -> list[Any]:
            found = ask(sql, values)
            asked.append((sql, len(found)))
            return found

        reader._tallies._ask = listen
        stand(reader)
        first = len(asked)
        with writing_to(populated) as change:
            change(("UPDATE hx_trial SET requeues = 1 WHERE state = 'RUNNING'", ()))
        stand(reader)

    unfinished = rows(populated, "SELECT 1 FROM hx_trial WHERE state IN ('RUNNING', 'WAITING')")
    assert len(asked) == first + 1
    assert asked[-1][1] == len(unfinished) + 1


def test_a_reader_like_another_counts_nothing_again_and_follows_by_itself(
    populated: Location,
) -> None:
    asked: list[str] = []
    with asking(populated) as first:
        before = stand(first)
        second = Reader(populated, like=first)
        second._connection.set_trace_callback(asked.append)  # type: ignore[union-attr]
        with contextlib.closing(second):
            numbers = [second.trial_count(study_id) for study_id in range(1, 7)]
            with writing_to(populated) as change:
                change(insert_trial(9_999, 1, 20, "COMPLETE", random.Random(1)))
            later = second.trial_count(1)
            unmoved = first._tallies.of(1).counts.total()

    assert before
    assert numbers == [20] * 6
    assert (later, unmoved) == (21, 20)
    assert not any("GROUP BY" in sql for sql in asked)


def test_a_list_of_many_studies_takes_as_many_statements_as_one_of_few(
    populated: Location, tmp_path: Path
) -> None:
    many = new_store(tmp_path / "many.db")
    plans = [study_plan(f"m{number}", goal=None) for number in range(30)]
    with opened(many) as storage:
        create_or_extend(storage, experiment_plan(*plans, name="many"))

    assert statements(many) == statements(populated) <= 12


def statements(location: Location) -> int:
    asked: list[str] = []
    with asking(location) as reader:
        reader._connection.set_trace_callback(asked.append)  # type: ignore[union-attr]
        reader.experiments()
    return len(asked)


def test_the_pace_is_that_of_the_latest_trials(tmp_path: Path) -> None:
    location = a_store(tmp_path / "s.db")
    with asking(location) as following:
        stand(following)
        with writing_to(location) as change:
            for number in range(100, 100 + RECENT):
                change(insert_trial(number + 1000, 1, number, "COMPLETE", random.Random(1)))
            change(("UPDATE hx_trial SET duration_s = 7.5 WHERE number >= 100", ()))
        with asking(location) as afresh:
            for reader in (following, afresh):
                assert reader.experiment(1).studies[0].median_s == 7.5
