"""Experiments of several metrics: what may be asked of them, and which trials leave their models.

A study is proposed the knee of its front (`engines.search.pareto`); the held-out part is opened for
that trial alone. Such an experiment has no racing, no pruner and no ensemble: all of them would
have to put one metric first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from engines.data.scoring import FIT_TIME, Metric
from engines.errors import BadInput
from engines.search import pareto
from engines.study.endings import scores, several_metrics

if TYPE_CHECKING:
    from engines.run.context import Context
    from engines.run.start import Request

SAMPLERS = ("tpe", "random")
"""Those that know what to do with several values."""

NO_ENSEMBLE = "several metrics have none"

CHOOSES_ITSELF = "it searches by one metric of its own"


def asks_for_several(request: Request) -> bool:
    """Whether a request names more than one metric."""
    return "," in (request.metric or "")


def check(request: Request, *, own_objective: bool) -> None:
    """Raise BadInput for what can't be had together with several metrics."""
    if not asks_for_several(request):
        return
    if own_objective:
        raise BadInput("An objective of your own returns one score: name one --metric, or none.")
    if request.sampler not in SAMPLERS:
        raise BadInput(
            f"--sampler {request.sampler} searches by one metric: with several take "
            f"{' or '.join(SAMPLERS)}."
        )
    if request.pruner not in (None, "none"):
        raise BadInput(
            f"--pruner {request.pruner} ends trials by one metric: with several leave it out."
        )


def device(request: Request, metrics: Sequence[Metric]) -> str | None:
    """Where networks are trained: seconds on one core are no seconds on a GPU."""
    if FIT_TIME not in metrics:
        return request.device
    if request.device == "cuda":
        raise BadInput(f"--device cuda: {FIT_TIME.name} is that of one core; leave one out.")
    return "cpu"


def place_among_kept(
    context: Context, study_id: int, value: float, number: int, evaluation: Any
) -> tuple[float, bool] | None:
    """(value, whether larger is better) by which what a trial leaves is kept; None if it is not.

    Of several metrics: the latest trials that were the knee when they ended.
    """
    if not context.has_several:
        return value, context.maximize
    database = context.storage.database
    maximize = database.read(lambda c: several_metrics(c, study_id))
    assert maximize is not None
    known = database.read(lambda c: scores(c, study_id, len(maximize)))
    points = [*known.values(), tuple(evaluation.objectives.values())]
    return (float(number), True) if pareto.knee(points, maximize) == len(known) else None


def told(held_out: Mapping[str, float | None]) -> dict[str, Any]:
    """The evidence on the held-out part by each of several metrics; nothing of a single one."""
    return {"held_out_values": dict(held_out)} if len(held_out) > 1 else {}
