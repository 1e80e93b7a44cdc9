"""What a call returns: for each model a dictionary of plain values, under the model's name."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna

from engines.errors import BadInput
from engines.models import catalogue
from engines.run.context import Context
from engines.run.own_metric import shown_name
from engines.study.reader import Reader
from engines.study.records import Experiment, Study

AGENTS = {"sac": "SAC_Trading", "td3": "TD3_Trading", "rainbow_dqn": "RainbowDQN_Trading"}
AGENT_TYPE = "reinforcement_learning_trading"
METRIC_NAMES = {"r2": "r2_score"}

FEWEST_FOR_IMPORTANCE = 10


class Results(dict[str, dict[str, Any]]):
    """Results by model name; case, dashes and underscores of a name don't matter when asked for.

    failed: why a model has no result, by model: it can't do these data, or no trial completed.
    """

    def __init__(
        self,
        found: Mapping[str, dict[str, Any]] | None = None,
        failed: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(found or {})
        self.failed = dict(failed or {})

    def __missing__(self, name: str) -> dict[str, Any]:
        form = catalogue.normalise(str(name))
        for known, result in self.items():
            if catalogue.normalise(known) in (form, catalogue.normalise(AGENTS.get(form, ""))):
                return result
        with contextlib.suppress(BadInput):
            spec = catalogue.find(str(name))
            if spec.name != name and dict.__contains__(self, spec.name):
                return self[spec.name]
        raise KeyError(name)

    def add(self, other: Results) -> None:
        """Take in the results of another experiment."""
        self.update(other)
        self.failed |= other.failed
        for model in self:
            self.failed.pop(next((a for a, shown in AGENTS.items() if shown == model), model), None)


def results_of(context: Context, reader: Reader, experiment: Experiment) -> Results:
    """The results of an experiment that has ended, the best model first."""
    found: dict[str, dict[str, Any]] = {}
    failed = dict(experiment.left_out)
    for study in experiment.ranked:
        if study.best is None:
            failed[study.model] = study.message or "no trial completed"
            continue
        found[AGENTS.get(study.model, study.model)] = _result(context, reader, experiment, study)
    return Results(found, failed)


def _result(
    context: Context, reader: Reader, experiment: Experiment, study: Study
) -> dict[str, Any]:
    """One model's result.

    params: of the best trial. score: its selection score, in `metric`. trials: finished ones.
    optimization_time: seconds spent in them, by all workers together. held_out_score: on rows that
    the search never saw, or None. validation_scores: of the best trial on each part that it was
    scored on, of agents each seed. parameter_importance: shares that sum to 1, empty where too few
    trials tell.
    """
    best = study.best
    assert best is not None
    detail = reader.trial(study.study_id, best.number)
    served = detail.trial.served_from
    if served is not None:
        detail = reader.trial(study.study_id, served)
    is_agent = study.model in AGENTS
    return {
        "params": reader.best_params(study.study_id, best.number),
        "score": best.selection_score,
        "model_type": AGENT_TYPE if is_agent else study.family,
        "metric": METRIC_NAMES.get(experiment.metric, shown_name(experiment.metric)),
        "trials": study.counts.finished,
        "optimization_time": study.train_s,
        "best_trial_number": best.number,
        "held_out_score": best.held_out_score,
        "validation_scores": [
            float(score) for score in detail.metrics.get("seeds" if is_agent else "folds", ())
        ],
        "parameter_importance": _importance(context, study),
        "direction": "maximize" if experiment.maximize else "minimize",
        "study": study.name,
    }


def _importance(context: Context, study: Study) -> dict[str, float]:
    """Shares by parameter, the largest first: PED-ANOVA (Watanabe, Bansal and Hutter, 2023).

    Only over parameters that every trial has; which of them matter where the best trials are.
    """
    if study.counts.complete < FEWEST_FOR_IMPORTANCE:
        return {}
    # A second, which only results have to wait for.
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    loaded = optuna.load_study(study_name=study.name, storage=context.storage)
    with _quiet():
        try:
            shares = get_param_importances(loaded, evaluator=PedAnovaImportanceEvaluator())
        except (ValueError, RuntimeError):  # all scores are equal, or no parameter varies
            return {}
    plain = {name: float(share) for name, share in shares.items()}
    return plain if all(math.isfinite(share) for share in plain.values()) else {}


@contextlib.contextmanager
def _quiet() -> Any:
    """The evaluator warns of what is told in the text above."""
    logger, level = logging.getLogger("optuna"), logging.getLogger("optuna").level
    logger.setLevel(logging.ERROR)
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        logger.setLevel(level)
