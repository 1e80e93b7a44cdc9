"""A trial of FLAML's on a sample of the rows: it tells the search something, no more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna

from engines.models.evaluation import Evaluation
from engines.models.fit import Trainer
from engines.models.spec import Form


class SampledEvaluation(Evaluation):
    """Trains on at most `size` rows of each fold, and ends as pruned with its score reported.

    report: takes the score. Models that learned from part of the rows are never compared with
    those that had all of them.
    """

    def __init__(
        self,
        trainer: Trainer,
        form: Form,
        params: dict[str, Any],
        seed: int,
        *,
        size: int,
        report: Callable[[float], None],
        **more: Any,
    ) -> None:
        super().__init__(trainer, replace(form, most_rows=size), params, seed, **more)
        self._size = size
        self._report = report

    @property
    def value(self) -> float:
        """Never a value: raises TrialPruned once the score is reported, ScoreError without one."""
        self._report(super().value)
        raise optuna.TrialPruned(f"on a sample of {self._size:,} rows")

    @property
    def metrics(self) -> dict[str, Any]:
        """Those of `Evaluation`, and `sample_size`: rows that it was allowed."""
        return {**super().metrics, "sample_size": self._size}
