"""What every torture needs: a world of real processes, what they were told, a killer, a check.

All processes of a world carry its tag in their environment, which is how they are found in
/proc and how all of them are ended, whatever else a scenario did to them.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engines.run.process import is_same_process
from tests.e2e import conftest as e2e
from tests.e2e.conftest import wait_until

HERE = Path(__file__).resolve().parent
CHEAP = f"{HERE / 'objectives' / 'cheap.py'}:objective"
TAG = "HYPERION_TORTURE"
ENDED = ("COMPLETE", "FAIL", "PRUNED")
ORPHANS_GONE_S = 5.0
"""How long after a restart a trial of a dead worker may still be RUNNING."""


@dataclass(frozen=True)
class Process:
    """A process of a world.

    kind: runner, worker (or a fork of one), guardian, command, looker or other. words: its command.
    """

    pid: int
    kind: str
    words: str


def _kind(words: list[str]) -> str:
    for kind in ("runner", "worker"):
        if f"engines.run.{kind}" in words:
            return kind
    if "hyperion_tui" in words:
        return "command"
    for kind in ("guardian", "looker"):
        if any(word.endswith(f"{kind}.py") for word in words):
            return kind
    return "other"


def tagged(tag: str) -> list[Process]:
    """The living processes whose environment holds the tag."""
    mark = f"{TAG}={tag}\0".encode()
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            environment = Path(f"/proc/{entry}/environ").read_bytes()
            if mark not in environment + b"\0":
                continue
            words = Path(f"/proc/{entry}/cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        found.append(Process(int(entry), _kind(words), " ".join(words)))
    return found


def end_leftovers() -> int:
    """Kill what is left of worlds whose maker was killed itself; returns how many processes."""
    killed = 0
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            environment = Path(f"/proc/{entry}/environ").read_bytes().split(b"\0")
        except OSError:
            continue
        marks = [item for item in environment if item.startswith(f"{TAG}=".encode())]
        maker = marks[0].partition(b"=")[2].partition(b"-")[0].decode() if marks else ""
        if maker.isdigit() and not _lives(maker):
            killed += send(int(entry), signal.SIGKILL)
    return killed


def _lives(pid: str) -> bool:
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())  # a zombie's is empty
    except OSError:
        return False


def send(pid: int, number: signal.Signals) -> bool:
    """Send a signal; False if the process is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


class World(e2e.World):
    """A store of its own, the program on it, and a record of what its workers were told.

    folder: where the record and homes lie. store: by default in it. extra: more environment.
    """

    def __init__(self, folder: Path, store: Path | None = None, **extra: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(store or folder / "studies.db")
        self.folder = folder
        self.record = folder / "record"
        self.record.mkdir(exist_ok=True)
        self.tag = f"{os.getpid()}-{uuid.uuid4().hex}"
        path = [str(HERE / "witness"), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.env = {
            TAG: self.tag,
            "HYPERION_TORTURE_RECORD": str(self.record),
            "HYPERION_HOME": str(folder / "home"),
            "PYTHONPATH": os.pathsep.join(path),
            **extra,
        }

    # -- processes -----------------------------------------------------------------------

    def hyperion(self, *words: str, check: int | None = 0, **env: str) -> Any:
        return super().hyperion(*words, check=check, **{**self.env, **env})

    def start(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """Run Python with these words in the background, as a process of this world."""
        return subprocess.Popen(
            [sys.executable, *words],
            env={**os.environ, **self.env},
            cwd=self.folder,
            start_new_session=True,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **options},
        )

    def command(self, *words: str, **options: Any) -> subprocess.Popen[bytes]:
        """A command of the program in the background."""
        return self.start("-P", "-m", "hyperion_tui", *words, "--store", str(self.store), **options)

    def pids(self, kind: str) -> list[int]:
        return [process.pid for process in tagged(self.tag) if process.kind == kind]

    def end(self) -> None:
        """Kill whatever is left of this world; nothing survives it."""
        wait_until(self._kill_all, "the processes of the world to be gone", 30)

    def _kill_all(self) -> bool:
        left = tagged(self.tag)
        for process in left:
            send(process.pid, signal.SIGKILL)
        return not left

    def strays(self) -> list[str]:
        """Processes that are not the program's own: what objectives have started."""
        workers = {row[0] for row in self.ask("SELECT pid FROM hx_worker")}
        return [
            f"{process.pid} {process.kind}: {process.words}"
            for process in tagged(self.tag)
            if process.kind == "other" or (process.kind == "worker" and process.pid not in workers)
        ]

    # -- what is known about them --------------------------------------------------------

    def notes(self, what: str | None = None) -> list[dict[str, Any]]:
        """What workers noted, in time; a line that a kill cut off is none."""
        found = []
        for file in self.record.glob("*.jsonl"):
            for line in file.read_bytes().split(b"\n")[:-1]:
                found.append(json.loads(line))
        found.sort(key=lambda note: note["at"])
        return found if what is None else [note for note in found if note["what"] == what]

    def noted(self) -> int:
        """How many bytes were noted so far: grows with each thing a worker does."""
        return sum(file.stat().st_size for file in self.record.glob("*.jsonl"))

    def orphans(self) -> list[tuple[int, int]]:
        """(study, number) of trials that are RUNNING and whose worker does not live."""
        rows = self.ask(
            "SELECT o.study_id, o.number, w.pid, w.start_ticks, w.boot_id FROM trials o "
            "LEFT JOIN hx_trial t ON t.trial_id = o.trial_id "
            "LEFT JOIN hx_worker w ON w.id = t.worker_id WHERE o.state = 'RUNNING'"
        )
        return [
            (study, number)
            for study, number, pid, ticks, boot in rows
            if not pid or not is_same_process(pid, ticks, boot)
        ]

    def logs(self) -> str:
        """The logs of runners and workers, for what must not be in them."""
        files = sorted(self.location.side.glob("logs/*/*"))
        return "\n".join(f.read_text(errors="replace") for f in files if f.is_file())

    def wait_done(self, name: str = "e", state: str = "done", seconds: float = 120.0) -> None:
        def reached() -> bool:
            now = self.state(name)
            assert now == state or now not in ("failed", "done", "cancelled"), self.why(name)
            return now == state

        wait_until(reached, f"{name} to be {state}", seconds)
        wait_until(lambda: self.runner() is None, "its runner to leave", 30)

    def why(self, name: str = "e") -> str:
        """The state of an experiment, and what the store says about it."""
        failures = self.ask("SELECT failure FROM hx_experiment UNION SELECT failure FROM hx_study")
        last = [row[0] for row in self.ask("SELECT text FROM hx_event ORDER BY seq DESC LIMIT 5")]
        return f"{name} is {self.state(name)}: {failures}; last events: {last}"


# -- the check -----------------------------------------------------------------------------


@dataclass
class Verdict:
    """What a check counted. The last four are asserted to be 0.

    executed: how often a trial was begun. requeued: how often one was put back. unsaid: ends in
    the store of which the worker was killed before it could note them. lost: acknowledged ends
    that the store does not have as they were told. twice: trials acknowledged more than once.
    again: executions that began after the acknowledgement.
    """

    trials: int
    acknowledged: int
    executed: int
    requeued: int
    unsaid: int
    lost: int
    twice: int
    again: int
    left_running: int


def check(
    world: World, goals: dict[str, int], *, killed: int = 0, failed: int | None = 0
) -> Verdict:
    """Compare a store whose experiments have ended with what its workers were told.

    goals: finished trials by study name. killed: how many workers were killed at most, each of
    which may have ended one trial without a chance to note it. failed: trials that may have
    failed, or None for any number.
    """
    assert world.ask("PRAGMA integrity_check") == [("ok",)]
    verdict = _check_acknowledged(world, killed)
    _check_totals(world, goals, failed)
    _check_mirror(world)
    log = world.logs()
    assert "Traceback" not in log, log[log.index("Traceback") :][:3000]
    deaths = [note["error"] for note in world.notes("died")]
    assert not deaths, deaths
    return verdict


def _check_totals(world: World, goals: dict[str, int], failed: int | None) -> None:
    for study, goal in goals.items():
        rows = world.ask(
            "SELECT o.number, o.state FROM trials o JOIN studies s ON s.study_id = o.study_id "
            "WHERE s.study_name = ? ORDER BY 1",
            study,
        )
        # No trial is ever removed: numbers are 0, 1, 2 ... without a hole or a repetition.
        assert [number for number, _ in rows] == list(range(goal)), (study, len(rows), goal)
        states = Counter(state for _, state in rows)
        if failed is not None:
            why = world.ask("SELECT number, error_class, error_message FROM hx_trial")
            lost = [row for row in why if row[1]]
            assert states["FAIL"] <= failed, (study, states, lost[:5])


def _check_mirror(world: World) -> None:
    """Our rows say what Optuna's say, and each end was logged once."""
    assert (
        world.ask(
            "SELECT o.trial_id, o.state, t.state, v.value, t.value FROM trials o "
            "LEFT JOIN hx_trial t ON t.trial_id = o.trial_id "
            "LEFT JOIN trial_values v ON v.trial_id = o.trial_id "
            "WHERE t.state IS NULL OR t.state != o.state OR t.number != o.number "
            "OR (o.state = 'COMPLETE' AND (v.value IS NULL OR t.value IS NULL "
            "OR v.value != t.value))"
        )
        == []
    )
    ends = world.ask(
        "SELECT study_id, trial_number, count(*) FROM hx_event WHERE kind IN "
        "('trial_complete', 'trial_failed', 'trial_pruned') GROUP BY 1, 2"
    )
    finished = world.ask("SELECT count(*) FROM trials WHERE state IN ('COMPLETE','FAIL','PRUNED')")
    assert [end for end in ends if end[2] != 1] == []
    assert len(ends) == finished[0][0]


def _check_acknowledged(world: World, killed: int) -> Verdict:
    stored = {
        row[0]: row[1:]
        for row in world.ask(
            "SELECT o.trial_id, o.state, v.value FROM trials o "
            "LEFT JOIN trial_values v ON v.trial_id = o.trial_id"
        )
    }
    ends: dict[int, dict[str, Any]] = {}
    twice, lost = [], []
    for note in world.notes("acknowledged"):
        (twice if note["trial"] in ends else []).append(note)
        ends.setdefault(note["trial"], note)
        value = note["values"][0] if note["values"] else None
        if stored.get(note["trial"]) != (note["state"], value):
            lost.append((note, stored.get(note["trial"])))
    began = world.notes("began") or world.notes("params")
    again = [n for n in began if n["trial"] in ends and n["at"] > ends[n["trial"]]["at"]]
    # Who is killed between the commit and the next line can't note it; nobody else is silent.
    silent = [t for t, (state, _) in stored.items() if state == "COMPLETE" and t not in ends]
    left = [trial for trial, (state, _) in stored.items() if state not in ENDED]
    verdict = Verdict(
        trials=len(stored),
        acknowledged=len(ends),
        executed=len(began),
        requeued=world.ask("SELECT coalesce(sum(requeues), 0) FROM hx_trial")[0][0],
        unsaid=len(silent),
        lost=len(lost),
        twice=len(twice),
        again=len(again),
        left_running=len(left),
    )
    wrong = [*lost, *twice, *again, *left]
    assert not wrong, (verdict, wrong[:5])
    assert len(silent) <= killed, f"{len(silent)} ends were noted by nobody, {killed} kills"
    _check_contents(world, ends)
    return verdict


def _check_contents(world: World, ends: dict[int, dict[str, Any]]) -> None:
    """Parameters, and reports of objectives of our own, of each acknowledged trial."""
    params = _stored_params(world)
    reports: dict[int, dict[str, float]] = defaultdict(dict)
    for trial, step, value in world.ask(
        "SELECT trial_id, step, intermediate_value FROM trial_intermediate_values"
    ):
        reports[trial][str(step)] = value
    for note in [*world.notes("ran"), *world.notes("params")]:
        end = ends.get(note["trial"])
        if end is None or end["pid"] != note["pid"] or end["state"] != "COMPLETE":
            continue
        trial = note["trial"]
        assert params[trial] == note["params"], (trial, params[trial], note)
        if note["what"] == "ran":
            assert note["value"] == end["values"][0], (note, end)
            assert reports[trial] == note["reports"], (trial, reports[trial], note)


def _stored_params(world: World) -> dict[int, dict[str, Any]]:
    """Parameters by trial, as people see them, read with Optuna's own rules."""
    from optuna.distributions import json_to_distribution

    found: dict[int, dict[str, Any]] = defaultdict(dict)
    for trial, name, value, distribution in world.ask(
        "SELECT trial_id, param_name, param_value, distribution_json FROM trial_params"
    ):
        found[trial][name] = json_to_distribution(distribution).to_external_repr(value)
    return found


# -- the killer ----------------------------------------------------------------------------

AIMS = {
    "worker": 50,
    "runner": 15,
    "everything": 10,
    "screen": 8,
    "commands": 8,
    "order": 5,
    "guardian": 4,
}


@dataclass
class Storm:
    """Random kill -9s on an experiment that is brought back each time it stands still.

    goal: of each study at first; it is raised when the experiment is done before the kills are.
    slowest_restart_s: from the call of `resume` until no trial of a dead worker was RUNNING.
    """

    world: World
    rng: random.Random
    selectors: tuple[str, ...]
    goal: int = 40
    workers: int = 3
    blows: Counter[str] = field(default_factory=Counter)
    lookers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    slowest_restart_s: float = 0.0
    workers_killed: int = 0

    def run(self, kills: int) -> dict[str, Any]:
        """Kill so often, let the experiment end, check, and say what happened."""
        began = time.monotonic()
        words = ("--trials", str(self.goal), "--workers", str(self.workers), "--name", "e")
        self.world.hyperion("run", *self.selectors, *words, "--detach")
        self.look()
        while self.blows.total() < kills:
            self.wait()
            if self.world.state("e") == "done":
                self.goal += 40
                self.resume("--trials", str(self.goal))
            self.strike()
            self.look()
        self.world.wait_done(seconds=300)
        self.leave()
        studies = [row[0] for row in self.world.ask("SELECT study_name FROM studies")]
        verdict = check(self.world, dict.fromkeys(studies, self.goal), killed=self.workers_killed)
        return {
            "kills": dict(self.blows),
            "workers_killed": self.workers_killed,
            "slowest_restart_s": round(self.slowest_restart_s, 3),
            "seconds": round(time.monotonic() - began, 1),
            **vars(verdict),
        }

    def wait(self) -> None:
        """Until a random moment, which may find workers importing; mostly one amid trials."""
        if self.rng.random() < 0.3:
            time.sleep(self.rng.uniform(0.0, 1.0))
            return
        # So many things noted from now; a slow machine gets its time.
        before, more = self.world.noted(), self.rng.randrange(1, 4000)
        deadline = time.monotonic() + 20.0
        while self.world.noted() < before + more and time.monotonic() < deadline:
            if self.world.runner() is None:
                return  # it is done
            time.sleep(0.001)
        time.sleep(self.rng.uniform(0.0, 0.03))

    def strike(self) -> None:
        """One kill -9, of something that lives."""
        aim = self.rng.choices(list(AIMS), list(AIMS.values()))[0]
        if aim in ("screen", "commands"):
            looker = self.lookers.pop(aim)
            looker.kill()
            looker.communicate()
            self.blows[aim] += 1
        elif aim == "order":
            # Somebody resumes, and is killed anywhere from the import to the last commit.
            order = self.world.command("resume", "e", stderr=subprocess.DEVNULL)
            time.sleep(self.rng.uniform(0.0, 0.6))
            order.kill()
            order.wait()
            self.blows[aim] += 1
        elif aim in ("worker", "guardian"):
            found = self.world.pids(aim)
            if found and send(self.rng.choice(found), signal.SIGKILL):
                self.blows[aim] += 1
                self.workers_killed += aim == "worker"
        else:
            self.strike_runner(aim)

    def strike_runner(self, aim: str) -> None:
        """Kill the runner, or all at once as a power cut would; then somebody resumes."""
        runner = self.world.runner()
        workers = self.world.pids("worker")
        all_of_it = [*workers, *self.world.pids("guardian"), runner]
        victims = all_of_it if aim == "everything" else [runner]
        self.rng.shuffle(victims)
        if runner is None:
            return
        for victim in victims:
            send(victim, signal.SIGKILL)
        self.blows[aim] += 1
        self.workers_killed += len(workers)  # they die with their runner
        wait_until(lambda: self.world.runner() != runner, "the runner to be gone", 10)
        wait_until(
            lambda: not set(workers) & set(self.world.pids("worker")),
            "the workers to die with their runner",
            10,
        )
        time.sleep(self.rng.choice([0.0, 0.0, self.rng.uniform(0.0, 1.0)]))
        if self.world.state("e") != "done":
            self.resume()

    def resume(self, *words: str) -> None:
        """Resume, and see that no trial of a dead worker stays RUNNING."""
        begun = time.monotonic()
        if self.world.hyperion("resume", "e", *words, check=None) is None:
            # A runner that a killed `resume` had left behind has just ended it.
            assert self.world.state("e") == "done", self.world.why()
        wait_until(lambda: not self.world.orphans(), "no trial of a dead worker", ORPHANS_GONE_S)
        self.slowest_restart_s = max(self.slowest_restart_s, time.monotonic() - begun)

    def look(self) -> None:
        """See that the lookers live, and start those that were killed."""
        for kind in ("screen", "commands"):
            looker = self.lookers.get(kind)
            if looker is None:
                words = (str(HERE / "looker.py"), kind, str(self.world.store))
                pipe = subprocess.PIPE
                self.lookers[kind] = self.world.start(*words, stdin=pipe, stderr=pipe)
            elif looker.poll() is not None:
                raise AssertionError(f"{kind} died: {_last_words(looker)}")

    def leave(self) -> None:
        """The lookers look away; each must still have been there."""
        self.look()
        for kind, looker in self.lookers.items():
            assert looker.stdin is not None
            looker.stdin.close()
            looker.stdin = None
            words = looker.communicate(timeout=30)[1]
            assert looker.returncode == 0, (kind, looker.returncode, words)


def _last_words(process: subprocess.Popen[bytes]) -> str:
    said = process.communicate()[1] or b""
    return f"{process.returncode} {said.decode(errors='replace')[-3000:]}"


def at_work(world: World, finished: int, workers: int) -> list[int]:
    """Wait for so many finished trials and living workers; returns the workers' pids."""

    def ready() -> list[int]:
        pids = world.pids("worker")
        return pids if world.finished() >= finished and len(pids) == workers else []

    return list(wait_until(ready, f"{workers} workers and {finished} trials", 120))


def goes_on(world: World, trials: int = 3, seconds: float = 60.0) -> None:
    """Wait until so many more trials have finished."""
    before = world.finished()
    wait_until(lambda: world.finished() >= before + trials, "trials to go on", seconds)


def watched(seconds: float, every: float = 0.2) -> Iterator[float]:
    """The time left, again and again, until `seconds` are over."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        yield left
        time.sleep(min(every, left))
