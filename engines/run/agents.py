"""What a worker does with trading agents: their trials, what is kept of them, how studies end.

A trial is `engines.models.rl_agents.protocol`. The held-out score of a study is the median over
the seeds of its best trial on the test period, which is opened once; what `backtest` takes is the
policy of the seed that was the median one on the validation bars, so nothing is chosen by the test.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from engines.analysis import luck
from engines.clock import utc_now
from engines.data.earnings import score_returns
from engines.data.scoring import ScoreError
from engines.data.terms import Terms
from engines.errors import BadInput, one_line
from engines.models.rl_agents.policy import AgentPolicy
from engines.models.rl_agents.protocol import (
    AgentEvaluation,
    Begin,
    Policy,
    Training,
    median_score,
    middle,
)
from engines.models.rl_agents.stages import Stages
from engines.run import several
from engines.run.artefacts import NotKept
from engines.run.context import Context
from engines.run.interrupted import TrialKeeper
from engines.run.trial import Evaluator, Listener
from engines.search import pareto
from engines.search.seeds import derive
from engines.study import events, returns, study_rows
from engines.study.claims import Job
from engines.study.endings import (
    BestTrial,
    HeldOut,
    best_baseline,
    best_trials,
    closed_studies,
    held_out_before,
)
from engines.study.ensembles import keep_ensemble
from engines.study.records import BUY_AND_HOLD
from simulator import baselines
from simulator.episode import Episode
from simulator.market import Market
from simulator.simulator import backtest

Floats = npt.NDArray[np.float64]

OF_TRIAL_TIME = 0.9
"""A trial ends its training at this part of its own limit, so that it has a score, not an error."""

OTHER_TIMES = 99
"""So many shifts in time stand for "the same decisions at random times"."""

NO_ENSEMBLE = "no ensemble: agents are judged one by one"


class Agents:
    """The agents of one experiment, for one worker."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.terms = Terms.of(context.experiment.split)
        self.metrics = tuple(metric.name for metric in context.metrics)
        self.metric = self.metrics[0]

    @cached_property
    def stages(self) -> Stages:
        """The periods as markets."""
        return Stages(self.context.data, self.terms)

    # -- trials --------------------------------------------------------------------------------

    def evaluator(self, job: Job) -> Evaluator:
        """What trains and scores the parameters of a trial."""
        begun = time.monotonic()

        def evaluate(
            params: dict[str, Any], seed: int, listen: Listener | None, keeper: TrialKeeper
        ) -> AgentEvaluation:
            left = self._seconds(job)
            return AgentEvaluation(
                self.stages,
                self.terms,
                self.metric,
                seed,
                self._begin(job.model, params),
                seconds_left=None if left is None else left - (time.monotonic() - begun),
                listen=listen,
                saver=keeper.saver(0),
                tell=self._teller(job),
                metrics=self.metrics if self.context.has_several else (),
            )

        return evaluate

    def _seconds(self, job: Job) -> float | None:
        limit = self.context.experiment.trial_time_s
        own = None if limit is None else OF_TRIAL_TIME * limit
        return min((s for s in (job.seconds_left, own) if s is not None), default=None)

    def _begin(self, model: str, params: dict[str, Any]) -> Begin:
        form = self.context.form(model)
        trained = form.load_class()
        settings, steps = {**form.fixed, **params}, self.terms.steps

        def begin(seed: int, state: bytes | None) -> Training:
            about = (model, settings, self.stages.train, seed)
            training: Training = (
                trained(*about, steps=steps)
                if state is None
                else trained.unpack(state, *about, steps=steps)
            )
            return training

        return begin

    def _teller(self, job: Job) -> Callable[[int, float, float], None]:
        """Who writes a line of the log at each report."""
        context, steps = self.context, self.terms.steps

        def tell(step: int, pace: float, score: float) -> None:
            done = f"{step:,} of {steps:,} steps, {pace:,.0f} steps/s"
            said = f"{done}, {self.metric} {score:.4g} so far"
            context.storage.database.write(
                lambda c: study_rows.add_event(
                    c,
                    context.experiment_id,
                    job.study_id,
                    job.number,
                    utc_now(),
                    kind=events.TRIAL_PROGRESS,
                    text=said,
                )
            )

        return tell

    def keep(self, job: Job, number: int, value: float, evaluation: Any) -> None:
        """Keep the policies of a trial that is among the best of its study."""
        context = self.context
        place = several.place_among_kept(context, job.study_id, value, number, evaluation)
        if place is None or not context.artefacts.wants(job.study_id, *place):
            return
        market = self.stages.validation
        rows = np.arange(market.first, market.last)
        outcome = context.artefacts.keep(
            job.study_id,
            number,
            place[0],
            None,
            [(rows, positions[rows]) for positions in evaluation.positions],
            maximize=place[1],
            facts={"agent": job.model, "median_seed": evaluation.median_seed},
            more=lambda folder: _save(folder, evaluation.policies),
        )
        if outcome.kept == "nothing":
            logging.info("%s trial %d: not kept: %s", job.model, number, outcome.reason)

    # -- what is scored once ---------------------------------------------------------------------

    def score_baselines(self) -> None:
        """Score cash, and buying and holding, unless another worker has."""
        context, database = self.context, self.context.storage.database
        if database.read(lambda c: study_rows.has_baselines(c, context.experiment_id)):
            return
        rows = [
            self._baseline(
                name, *(self._score_or_none(_rule(rule, market)) for market in self._scored)
            )
            for name, rule in RULES.items()
        ]
        held = _rule(baselines.buy_and_hold, self.stages.validation).returns
        content = held.astype("<f4").tobytes()

        def work(connection: Connection) -> None:
            study_rows.add_baselines(connection, rows)
            returns.keep(connection, context.experiment_id, BUY_AND_HOLD, 1, content)

        database.write(work)

    @property
    def _scored(self) -> tuple[Market, Market]:
        return self.stages.validation, self.stages.test

    def _baseline(
        self, name: str, selection: float | None, held_out: float | None
    ) -> dict[str, Any]:
        return {
            "experiment_id": self.context.experiment_id,
            "name": name,
            "selection_score": selection,
            "held_out_score": held_out,
        }

    def _score(self, episode: Episode) -> float:
        return score_returns(self.metric, episode.returns, self.terms.bars_per_year)

    def _score_or_none(self, episode: Episode) -> float | None:
        try:
            return self._score(episode)
        except ScoreError:
            return None

    def open_held_out(self, _: Context, job: Job, best: BestTrial) -> HeldOut:
        """Judge the best trial of a study on the test period, unless that was done before.

        What its score is worth depends on all that was tried, so that is computed anew.
        """
        before = held_out_before(self.context.storage, job.study_id, best.number)
        try:
            score, evidence = before or self.judge(best)
            evidence = dict(evidence or {})
            tested = self._multiple_testing([job.study_id], best)
            evidence["trading"] = {**evidence.get("trading", {}), **tested}
            return HeldOut(score, best.number, opened=before is None, evidence=evidence)
        except Exception as error:  # the border of a job: its reason is stored
            logging.exception("held-out score of %s", job.study_name)
            note = f"no held-out score: {type(error).__name__}: {one_line(error)}"
            return HeldOut(None, best.number, note, opened=True)

    def judge(self, best: BestTrial) -> tuple[float, dict[str, Any]]:
        """(median over the seeds on the test period, evidence). Looks at the test period."""
        policies = self.policies(best)
        validation, test = self._scored
        chosen = int(best.metrics["median_seed"])
        episodes = [backtest(policy.positions(test), test) for policy in policies]
        scores = [self._score(episode) for episode in episodes]
        shown_seed = middle(scores)
        shown, a_year = episodes[shown_seed], self.terms.bars_per_year
        seed = self.context.experiment.seed
        selected = backtest(policies[chosen].positions(validation), validation)
        evidence: dict[str, Any] = {
            "selection_interval": luck.interval(self.metric, selected.returns, a_year, seed=seed),
            "held_out_interval": luck.interval(self.metric, shown.returns, a_year, seed=seed),
            "trading": {
                "seeds": best.metrics.get("seeds"),
                "held_out_seeds": scores,
                "median_seed": chosen,
                "policy_held_out": scores[chosen],
                **{name: shown.metrics[name] for name in ("max_drawdown", "num_trades")},
                "total_return": shown.metrics["total_return"],
            },
        }
        evidence |= several.told(
            {name: _median_or_none(name, episodes, a_year) for name in self.metrics}
        )
        rival = best_baseline(self.context.storage, self.context.experiment_id, RULES)
        if rival is not None:
            reference = _rule(RULES[rival], test).returns
            evidence["baseline"] = rival
            evidence["p_beats_baseline"] = luck.p_of_lead(
                self.metric, shown.returns, reference, a_year, seed=seed
            )
        return scores[shown_seed], evidence

    def policies(self, best: BestTrial, tell: Callable[[str], None] | None = None) -> list[Policy]:
        """The policies of a trial, one a seed: those kept, or the same ones trained again.

        tell: hears why, before they are.
        """
        context = self.context
        try:
            context.artefacts.load(best.study_id, best.number, with_models=False)
            folder = context.artefacts.folder(best.study_id, best.number)
            return [AgentPolicy.load(seed_folder(folder, at)) for at in range(self.terms.seeds)]
        except (NotKept, BadInput) as reason:
            logging.info("%s trial %d is trained again: %s", best.model, best.number, reason)
            if tell is not None:
                tell(str(reason))
        begin = self._begin(best.model, context.storage.get_trial(best.trial_id).params)
        trainings = [begin(derive(best.seed, at), None) for at in range(self.terms.seeds)]
        for training in trainings:
            training.advance(int(best.metrics["steps"][0]))
        return [training.policy() for training in trainings]

    def _multiple_testing(self, study_ids: list[int], best: BestTrial) -> dict[str, Any]:
        tried = returns.tried(self.context.storage.database, study_ids)
        matrix = np.column_stack([_first(one) for one in tried])
        chosen = [(one.study_id, one.number) for one in tried].index((best.study_id, best.number))
        return luck.multiple_testing(matrix, chosen)

    def finish(self) -> None:
        """The last row of the experiment: what its best agent is worth of all that were tried."""
        context = self.context
        evidence, note = None, NO_ENSEMBLE
        try:
            evidence = self._of_all()
        except Exception as error:  # the border of a job: its reason is stored
            logging.exception("evidence of experiment %s", context.experiment_id)
            note = f"{NO_ENSEMBLE}; what the luck of all trials is, is not known: {one_line(error)}"
        keep_ensemble(
            context.storage,
            context.experiment_id,
            context.worker_id,
            selection_score=None,
            held_out_score=None,
            evidence=evidence,
            note=note,
        )

    def _of_all(self) -> dict[str, Any] | None:
        context = self.context
        ids = [study_id for study_id, _ in closed_studies(context.storage, context.experiment_id)]
        bests = [trial for at in ids for trial in best_trials(context.storage, at)]
        if not bests:
            return None
        leader = max(bests, key=lambda trial: trial.value)
        if context.has_several:
            ways = [metric.maximize for metric in context.metrics]
            leader = bests[pareto.knee([trial.values for trial in bests], ways)]
        policy = self.policies(leader)[int(leader.metrics["median_seed"])]
        sides = [self._beside(market, policy.positions(market)) for market in self._scored]
        rows = [self._baseline(name, *(side[name] for side in sides)) for name in sides[0]]
        context.storage.database.write(lambda c: study_rows.replace_baselines(c, rows))
        return {"trading": self._multiple_testing(ids, leader)}

    def _beside(self, market: Market, positions: Floats) -> dict[str, float | None]:
        """Scores of the same decisions at other times, and of the opposite ones."""
        rows = slice(market.first, market.last)

        def score(decisions: Floats) -> float | None:
            other = np.zeros(len(positions))
            other[rows] = decisions
            return self._score_or_none(backtest(other, market))

        made, seed = positions[rows], self.context.experiment.seed
        drawn = [score(baselines.same_turnover(made, seed + at)) for at in range(OTHER_TIMES)]
        known = [one for one in drawn if one is not None]
        return {
            "random": float(np.median(known)) if known else None,
            "sign_flipped": score(baselines.sign_flipped(made)),
        }


RULES: dict[str, Callable[..., Floats]] = {
    "flat": baselines.flat,
    "buy_and_hold": baselines.buy_and_hold,
}
"""Baselines that know nothing of any agent."""


def seed_folder(folder: Path, seed: int) -> Path:
    """Where the policy of a seed lies in the folder of its trial."""
    return folder / f"seed-{seed}"


def _save(folder: Path, policies: list[Any]) -> None:
    for at, policy in enumerate(policies):
        place = seed_folder(folder, at)
        place.mkdir(mode=0o700)
        policy.save(place)


def _rule(rule: Callable[..., Floats], market: Market) -> Episode:
    return backtest(rule(len(market.bars), market.max_position), market)


def _median_or_none(name: str, episodes: list[Episode], bars_per_year: float) -> float | None:
    """The median over the seeds by a further metric; None where it is not defined."""
    try:
        return median_score(name, episodes, bars_per_year)
    except ScoreError:
        return None


def _first(tried: returns.Tried) -> Floats:
    """The returns of the median seed of a trial."""
    values = np.frombuffer(tried.content, dtype="<f4").reshape(tried.seeds, -1)
    return values[0].astype(np.float64)
