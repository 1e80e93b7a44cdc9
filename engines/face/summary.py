"""Results side by side: which model is best, where that may be said."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from engines.errors import BadInput


class Summary(dict[str, Any]):
    """The comparison as plain data; printed, it is a table.

    best_model, best_score, best_params: of the best one; None where results of several metrics
    stand beside each other, which no score compares. total_models: with a score or without.
    ranking: a list of {rank, model, score, held_out_score, metric, trials, optimization_time}, the
    best first within each metric; rank is None without a finite score. metrics: those there are.
    note: why there is no best model, or None.
    """

    def __str__(self) -> str:
        headers = ("rank", "model", "score", "held-out", "metric", "trials", "seconds")
        rows = [
            (
                "-" if row["rank"] is None else str(row["rank"]),
                row["model"],
                _number(row["score"]),
                _number(row["held_out_score"]),
                row["metric"] or "-",
                "-" if row["trials"] is None else str(row["trials"]),
                _number(row["optimization_time"]),
            )
            for row in self["ranking"]
        ]
        widths = [max(len(cells[i]) for cells in [headers, *rows]) for i in range(len(headers))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
            for cells in [headers, *rows]
        ]
        if self["note"]:
            lines.append(self["note"])
        elif self["best_model"]:
            lines.append(f"best: {self['best_model']}, {_number(self['best_score'])}")
        return "\n".join(lines)


class Comparison:
    """Results of `optimize_...` calls, or any dictionaries with `score` and `params` by name."""

    def __init__(self, results: Mapping[str, Mapping[str, Any]]) -> None:
        if not isinstance(results, Mapping):
            raise BadInput("Give a dictionary of results by model name.")
        for name, result in results.items():
            if not isinstance(result, Mapping) or not {"score", "params"} <= set(result):
                raise BadInput(f"The result of {name} needs at least `score` and `params`.")
        self.results = {str(name): dict(result) for name, result in results.items()}

    def get_summary(self) -> Summary:
        """Every model in order, and the best one where a single metric scored them all."""
        by_metric: dict[tuple[str | None, bool], list[str]] = {}
        for name, result in self.results.items():
            key = (result.get("metric"), result.get("direction", "maximize") == "maximize")
            by_metric.setdefault(key, []).append(name)
        ranking: list[dict[str, Any]] = []
        for (metric, maximize), names in by_metric.items():
            ranking += self._ranked(names, metric, maximize)
        metrics = [metric for metric, _ in by_metric]
        best = next((row for row in ranking if row["rank"] == 1), None)
        note = None
        if len(by_metric) > 1:
            said = " and ".join(str(metric) for metric in metrics)
            note, best = f"ranked apart: {said} can't be compared", None
        elif best is None:
            note = "no model has a score"
        return Summary(
            best_model=best["model"] if best else None,
            best_score=best["score"] if best else None,
            best_params=dict(self.results[best["model"]]["params"] or {}) if best else None,
            total_models=len(self.results),
            metrics=metrics,
            ranking=ranking,
            note=note,
        )

    def _ranked(
        self, names: Iterable[str], metric: str | None, maximize: bool
    ) -> list[dict[str, Any]]:
        sign = -1.0 if maximize else 1.0

        def key(name: str) -> tuple[bool, float]:
            score = _finite(self.results[name]["score"])
            return score is None, 0.0 if score is None else sign * score

        rows = []
        for rank, name in enumerate(sorted(names, key=key), start=1):
            result = self.results[name]
            score = _finite(result["score"])
            rows.append(
                {
                    "rank": rank if score is not None else None,
                    "model": name,
                    "score": score,
                    "held_out_score": _finite(result.get("held_out_score")),
                    "metric": metric,
                    "trials": result.get("trials"),
                    "optimization_time": _finite(result.get("optimization_time")),
                }
            )
        return rows


def compare_optimization_results(results: Mapping[str, Mapping[str, Any]]) -> Comparison:
    """Results by model name, compared: `.get_summary()` says what there is to say.

    Raises BadInput for anything without `score` and `params`. A score that is no finite number
    never ranks.
    """
    return Comparison(results)


def _finite(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
