"""A trial of an agent: several seeds, trained side by side and scored on the validation bars.

The value is the median over the seeds of the metric at the end of the budget; nothing is chosen
among earlier states, which would be one more choice by the very bars that score. All seeds are
trained to a mark before any goes beyond it, so that what a trial reports there is the mean over
all of them, a trial that is ended early saves the rest of every seed, and one that time cuts
short has a score of equally long trainings.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from statistics import fmean
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from engines.data.earnings import score_returns
from engines.data.scoring import ScoreError
from engines.data.terms import Terms
from engines.models.learner import OutOfTime, Saver
from engines.models.rl_agents.stages import Stages
from engines.search.seeds import derive
from simulator.episode import Episode
from simulator.market import Market
from simulator.simulator import backtest

Floats = npt.NDArray[np.float64]
Told = Callable[[int, float, float], None]
"""(steps done, steps a second, the mean score of the seeds): who hears how a trial gets on."""

SLICE = 50
"""Steps between two looks at the clock and at orders; they take less than a second."""


class Policy(Protocol):
    """What a trained agent decides; see `engines.models.rl_agents.training.AgentPolicy`."""

    def positions(self, market: Market) -> Floats: ...


class Training(Protocol):
    """The training of one seed; see `engines.models.rl_agents.training.AgentTraining`."""

    steps_done: int

    def advance(self, to_step: int) -> None: ...
    def policy(self) -> Policy: ...
    def pack(self) -> bytes: ...


Begin = Callable[[int, bytes | None], Training]
"""(seed, state that an earlier process packed, or None) -> a training."""


class AgentEvaluation:
    """A trial while it runs. begin: makes the training of a seed, or takes one up again.

    seconds_left: until the experiment's time is up, or the trial's; None without limit. listen:
    called with a step and the mean score of the seeds there; may raise what ends the trial. saver:
    keeps the state of all trainings together. metrics: what it is scored by, where those are
    several; the first is `metric`.
    """

    def __init__(
        self,
        stages: Stages,
        terms: Terms,
        metric: str,
        seed: int,
        begin: Begin,
        *,
        seconds_left: float | None = None,
        listen: Callable[[int, int, float], None] | None = None,
        saver: Saver | None = None,
        tell: Told | None = None,
        metrics: Sequence[str] = (),
    ) -> None:
        self._metrics = metrics
        self._stages = stages
        self._terms = terms
        self._metric = metric
        self._seeds = [derive(seed, number) for number in range(terms.seeds)]
        self._begin = begin
        self._end = None if seconds_left is None else time.monotonic() + seconds_left
        self._listen = listen
        self._saver = saver
        self._tell = tell
        self._trainings: list[Training] = []
        self._reported = 0
        self._walked = 0
        self._began = time.monotonic()
        self.policies: list[Policy] = []
        self.positions: list[Floats] = []
        self.episodes: list[Episode] = []
        self.seed_scores: list[float] = []

    # -- training ------------------------------------------------------------------------------

    def scores(self) -> Iterator[float]:
        """Train, then the score of each seed. Raises ScoreError, OutOfTime, what training raises.

        OutOfTime: time was up before the first report, when the agents had hardly learned.
        """
        self._take_up()
        for mark in self._terms.marks:
            if mark <= self._reported:
                continue
            if not self._advance(mark):
                if not self._reported:
                    raise OutOfTime("time was up before the first report")
                break
            if mark < self._terms.steps:
                self._look_at(mark)
        self._judge()
        self.seed_scores = [self._score(episode) for episode in self.episodes]
        yield from self.seed_scores

    def _take_up(self) -> None:
        state = None if self._saver is None else self._saver.state
        self._began = time.monotonic()
        if state is None:
            self._trainings = [self._begin(seed, None) for seed in self._seeds]
            return
        self._reported, states = _unpack(state)
        pairs = zip(self._seeds, states, strict=True)
        self._trainings = [self._begin(seed, packed) for seed, packed in pairs]

    def _advance(self, mark: int) -> bool:
        """Train every seed up to a mark, in turns; False if time was up before.

        Time is looked at when all of them are equally far, so that it ends none before another.
        """
        while (least := min(training.steps_done for training in self._trainings)) < mark:
            if self._end is not None and time.monotonic() >= self._end:
                return False
            goal = min(mark, least + SLICE)
            for training in self._trainings:
                before = training.steps_done
                if before < goal:
                    training.advance(goal)
                    self._walked += training.steps_done - before
                    self._save()
        return True

    def _save(self) -> None:
        if self._saver is not None:
            self._saver(
                self._reported,
                lambda: _pack(self._reported, [training.pack() for training in self._trainings]),
            )

    def _judge(self) -> None:
        """What each seed decides now, and what becomes of it on the validation bars."""
        market = self._stages.validation
        self.policies = [training.policy() for training in self._trainings]
        self.positions = [policy.positions(market) for policy in self.policies]
        self.episodes = [backtest(positions, market) for positions in self.positions]

    def _score(self, episode: Episode) -> float:
        return score_returns(self._metric, episode.returns, self._terms.bars_per_year)

    def _look_at(self, mark: int) -> None:
        self._judge()
        self._reported = mark
        with suppress(ScoreError):  # of an agent in the making: nothing to report then
            mean = fmean(self._score(episode) for episode in self.episodes)
            if self._tell is not None:
                seconds = max(time.monotonic() - self._began, 1e-9)
                self._tell(mark, self._walked / seconds, mean)
            if self._listen is not None:
                self._listen(0, mark, mean)

    # -- what came of it -----------------------------------------------------------------------

    @property
    def value(self) -> float:
        """The median of the seeds' scores, which is that of one of them."""
        return self.seed_scores[self.median_seed]

    @property
    def objectives(self) -> dict[str, float]:
        """The median over the seeds by each of several metrics; not always of the same seed."""
        a_year = self._terms.bars_per_year
        return {name: median_score(name, self.episodes, a_year) for name in self._metrics}

    @property
    def median_seed(self) -> int:
        """The seed with the median score; by Sharpe ratio where the metric is not defined yet."""
        scores = self.seed_scores or [self._sharpe(episode) for episode in self.episodes]
        return middle(scores)

    def _sharpe(self, episode: Episode) -> float:
        return score_returns("sharpe_ratio", episode.returns, self._terms.bars_per_year)

    @property
    def returns(self) -> tuple[int, bytes] | None:
        """(seeds, their validation returns as float32 bytes), the median seed first.

        None before the first report.
        """
        if not self.episodes:
            return None
        first = self.median_seed
        order = [first, *(at for at in range(len(self.episodes)) if at != first)]
        rows = np.array([self.episodes[at].returns for at in order], dtype="<f4")
        return len(order), rows.tobytes()

    @property
    def metrics(self) -> dict[str, Any]:
        """What the record keeps: scores of the seeds, and what the median one did.

        steps: those done by each seed, of those planned.
        """
        done = min((training.steps_done for training in self._trainings), default=0)
        # Accounts trade side by side, so the last round may go a few steps beyond the budget.
        found: dict[str, Any] = {"steps": [min(done, self._terms.steps), self._terms.steps]}
        if self.seed_scores:
            found["seeds"] = self.seed_scores
        if self.episodes:
            found["median_seed"] = self.median_seed
            of_median: Mapping[str, Any] = self.episodes[self.median_seed].metrics
            found |= {name: of_median[name] for name in KEPT}
        return found


def median_score(metric: str, episodes: Sequence[Episode], bars_per_year: float) -> float:
    """The median of what the seeds have. Raises ScoreError where one has nothing."""
    scores = [score_returns(metric, episode.returns, bars_per_year) for episode in episodes]
    return scores[middle(scores)]


def middle(scores: Sequence[float]) -> int:
    """Which score is the median; the upper one of two."""
    return sorted(range(len(scores)), key=lambda at: (scores[at], at))[len(scores) // 2]


KEPT = ("sharpe_ratio", "total_return", "max_drawdown", "num_trades", "turnover", "exposure")
"""Of what the median seed did on the validation bars; None where it is not defined."""


def _pack(reported: int, states: list[bytes]) -> bytes:
    head = {"reported": reported, "lengths": [len(state) for state in states]}
    return b"\n".join([json.dumps(head).encode(), b"".join(states)])


def _unpack(packed: bytes) -> tuple[int, list[bytes]]:
    line, _, rest = packed.partition(b"\n")
    head = json.loads(line)
    states, at = [], 0
    for length in head["lengths"]:
        states.append(rest[at : at + length])
        at += length
    return int(head["reported"]), states
