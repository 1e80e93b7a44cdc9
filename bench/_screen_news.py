"""A process that keeps a synthetic store moving, so that a screen on it has something to show.

`python bench/_screen_news.py FILE`. It opens the studies again, holds the runner's lock (the app
takes the experiment for running, and starts no runner of its own), and then obeys one word a line
on stdin, answering each with `ok`:

  best N          the trial in hand of the first study ends with a new best score: its row and the
                  event, in one transaction, as a worker writes them; N places the score
  start           another trial is taken in hand
  turn N          both, each in a transaction of its own, as it goes in a real study
  log RATE S      RATE lines a second into the log, each committed alone, for S seconds
  log RATE        the same until the next line comes
  trials RATE S   RATE trials a second that end without being best, with their lines, for S seconds

The scores are made up and mean nothing (`_stores.py`).
"""

from __future__ import annotations

import itertools
import random
import select
import sys
import time
from collections.abc import Callable
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import _stores

from engines.clock import utc_now
from engines.study.location import Location
from engines.study.locks import take_runner_lock
from engines.study.sqlite import connect_to_write, writing

EXPERIMENT = 1


class News:
    """What happens in one store."""

    def __init__(self, path: Path) -> None:
        lock = take_runner_lock(Location(path).runner_lock(EXPERIMENT))
        if lock is None:
            raise SystemExit("a runner has this experiment")
        self._lock = lock  # kept open: closing the file would let go of it
        self._connection: Connection = connect_to_write(path)
        self._rng = random.Random(1)
        with writing(self._connection):
            self._connection.execute(
                "UPDATE hx_study SET closed_at = NULL, held_out_number = NULL, "
                "held_out_score = NULL, openings = 0, want = 'run', goal = 2 * goal"
            )
            self._connection.execute(
                "INSERT INTO hx_worker (experiment_id, slot, pid, start_ticks, boot_id, host, "
                "started_at) VALUES (?, 0, 1, 0, '', 'here', ?)",
                (EXPERIMENT, utc_now()),
            )
        trials = self._ask("SELECT max(trial_id), max(number) FROM hx_trial WHERE study_id = 1")
        highest = self._ask("SELECT max(trial_id) FROM hx_trial")[0]
        self._best: float = self._ask("SELECT max(value) FROM hx_trial WHERE study_id = 1")[0]
        self._ids, self._numbers = itertools.count(highest + 1), itertools.count(trials[1] + 1)
        self._in_hand = self._start()

    def _ask(self, question: str) -> Any:
        return self._connection.execute(question).fetchone()

    def _start(self) -> tuple[int, int]:
        trial_id, number = next(self._ids), next(self._numbers)
        rows = _stores._trial(self._rng, trial_id, 1, EXPERIMENT, number)
        at = utc_now()
        running = {"state": "RUNNING", "datetime_complete": None}
        ours = {"state": "RUNNING", "value": None, "finished_at": None, "duration_s": None}
        unset = {"error_class": None, "error_message": None, "started_at": at}
        with writing(self._connection):
            _stores._insert(self._connection, "trials", [{**rows["trials"][0], **running}])
            _stores._insert(self._connection, "trial_params", rows["trial_params"])
            _stores._insert(
                self._connection, "hx_trial", [{**rows["hx_trial"][0], **ours, **unset}]
            )
            self._event("trial_started", "started", number)
        return trial_id, number

    def _end(self, value: float) -> None:
        trial_id, number = self._in_hand
        with writing(self._connection, durable=True):
            self._connection.execute(
                "UPDATE trials SET state = 'COMPLETE' WHERE trial_id = ?", (trial_id,)
            )
            _stores._insert(self._connection, "trial_values", [_stores._value(trial_id, value)])
            self._connection.execute(
                "UPDATE hx_trial SET state = 'COMPLETE', value = ?, duration_s = 1.5, "
                "finished_at = ? WHERE trial_id = ?",
                (value, utc_now(), trial_id),
            )
            self._event("trial_complete", f"{value:.6g} (1.5 s)", number)

    def _event(self, kind: str, text: str, number: int) -> None:
        self._connection.execute(
            "INSERT INTO hx_event (at, experiment_id, study_id, trial_number, kind, text) "
            "VALUES (?, ?, 1, ?, ?, ?)",
            (utc_now(), EXPERIMENT, number, kind, text),
        )

    # -- words ---------------------------------------------------------------------------------

    def best(self, place: float) -> None:
        """The trial in hand ends above all others; nothing starts."""
        self._end(self._best + 0.001 * place)

    def start(self) -> None:
        """Another trial is taken in hand."""
        self._in_hand = self._start()

    def turn(self, place: float) -> None:
        """The trial in hand ends above all others, and another one starts."""
        self.best(place)
        self.start()

    def log(self, rate: float, seconds: float = float("inf")) -> None:
        """Lines of the log alone."""

        def line(number: int) -> None:
            with writing(self._connection):
                self._event("trial_progress", f"step {number} of many, loss 0.1234", number)

        self._repeat(line, rate, seconds)

    def trials(self, rate: float, seconds: float = float("inf")) -> None:
        """Trials that end, one after the other."""

        def trial(_: int) -> None:
            self._end(self._rng.uniform(0.1, 0.3))
            self.start()

        self._repeat(trial, rate, seconds)

    def _repeat(self, work: Callable[[int], None], rate: float, seconds: float) -> None:
        began = time.monotonic()
        for number in itertools.count():
            due = number / rate
            if due >= seconds:
                return
            left = max(0.0, began + due - time.monotonic())
            if select.select([sys.stdin], [], [], left)[0]:
                return
            work(number)


def main() -> None:
    """Obey."""
    news = News(Path(sys.argv[1]))
    words: dict[str, Callable[..., None]] = {
        "best": news.best,
        "start": news.start,
        "turn": news.turn,
        "log": news.log,
        "trials": news.trials,
    }
    print("ok", flush=True)
    # Unbuffered, because `_repeat` looks whether another line has come.
    with open(0, "rb", buffering=0, closefd=False) as orders:
        while order := orders.readline().decode().split():
            words[order[0]](*map(float, order[1:]))
            print("ok", flush=True)


if __name__ == "__main__":
    main()
