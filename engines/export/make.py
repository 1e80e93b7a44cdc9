"""From a study or an ensemble of the store to a folder that predicts.

What is exported is the predictor whose held-out score is shown: the fold models of the best trial
where rows have no order, a model of the whole search part where they have, or the members of the
ensemble. Models that were not kept are trained again from seed and parameters. Before the folder
appears it is read back, and must say of the held-out rows what the models said.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engines.analysis.ensemble import predict
from engines.data.bundled import data_sets
from engines.data.datasets import load
from engines.data.scoring import TRADING
from engines.data.snapshot import MOST_CONTEXT, Column, Snapshot
from engines.errors import BadInput, HyperionError, PackageMissing
from engines.export.card import Made, card_document
from engines.export.choice import Chosen, choose, member, verdict_of
from engines.export.folder import (
    Contents,
    check_target,
    new_folder,
    write_card,
    write_predictor,
)
from engines.export.past import PastColumns, plain_features
from engines.export.predictor import Context as Known
from engines.export.predictor import Floats, Ints, Predictor, versions_of
from engines.models.fit import FittedModel
from engines.run.artefacts import NotKept
from engines.run.context import Context
from engines.run.final import models_of_all_rows
from engines.run.settle import load_or_refit
from engines.study.endings import BestTrial
from engines.study.records import Experiment, Study
from simulator.errors import PackageNeeded

Tell = Callable[[str], None]

CLOSE = 1e-9
"""What is read back may differ from what was written by so much, of the size of the values."""

LAST = MOST_CONTEXT // 2
"""So many rows are predicted by both where none are held out, and what lies before them is read."""


def export(
    context: Context, experiment: Experiment, study: Study | None, to: Path, **options: Any
) -> dict[str, Any]:
    """Write the best predictor of a study, or the ensemble (study None), to a folder.

    options: force (replace an earlier export), refit (learn from all rows first), tell. Returns
    the card. Raises BadInput for a folder that can't be written, HyperionError if there is nothing
    to export, or if what was written does not predict the same.
    """
    check_target(to, force=options["force"])
    if experiment.dataset is None:
        raise BadInput(
            f"{experiment.name} is an objective of your own: what it trains is its own to keep."
        )
    chosen = choose(context, experiment, study)
    if experiment.task == TRADING:
        return _export_agent(
            context, experiment, chosen, verdict_of(experiment, study), to, options
        )
    features, times = _schema(context, experiment)
    members, retrained = _train(context, chosen, refit=options["refit"], tell=options["tell"])
    known = _known_rows(context, members, times)
    horizon = (experiment.split or {}).get("horizon")
    contents = Contents(
        task=experiment.task,
        target=experiment.dataset.target,
        classes=context.data.classes,
        features=plain_features(features, context.data.past),
        time_column=experiment.dataset.time_column,
        members=members,
        context=known,
        past=PastColumns.of(context.data, experiment.dataset.target, horizon),
    )
    with new_folder(to, force=options["force"]) as partial:
        formats = write_predictor(partial, contents)
        again = _check(context, contents, Predictor.load(partial), times)
        made = Made(
            name=chosen.name,
            selection_score=chosen.selection_score,
            held_out_score=chosen.held_out_score,
            evidence=chosen.evidence,
            openings=chosen.openings,
            members=[member(context, *one) for one in chosen.weighed],
            formats=formats,
            versions=versions_of(set(formats)),
            how=_how(context, chosen, refit=options["refit"]),
            verdict=verdict_of(experiment, study),
            context_rows=0 if known is None else len(known.X),
            context_has_target=known is not None and known.series is not None,
            refit=options["refit"],
            retrained=retrained,
            again=_again(context, chosen, again, refit=options["refit"]),
        )
        return write_card(partial, card_document(experiment, made))


def _export_agent(
    context: Context,
    experiment: Experiment,
    chosen: Chosen,
    verdict: str,
    to: Path,
    options: dict[str, Any],
) -> dict[str, Any]:
    try:
        # It needs numba, which is not everywhere where there are models.
        from engines.export.agents import export_agent
    except PackageNeeded as error:
        raise PackageMissing(f"{error}.") from None
    return export_agent(context, experiment, chosen, verdict, to, **options)


# -- models ----------------------------------------------------------------------------------


def _train(
    context: Context, chosen: Chosen, *, refit: bool, tell: Tell
) -> tuple[list[tuple[str, int, float, Sequence[FittedModel]]], list[str]]:
    """(the members with their models, those that had to be trained again)."""
    members: list[tuple[str, int, float, Sequence[FittedModel]]] = []
    retrained: list[str] = []
    for weight, study, trial in chosen.weighed:
        if refit:
            tell(f"training {study} trial {trial.number} on all rows")
            for share, models in models_of_all_rows(context, trial):
                members.append((study, trial.number, weight * share, models))
            continue
        kept, why = _kept_models(context, trial)
        if kept is None:
            tell(f"training {study} trial {trial.number} again: {why}")
            retrained.append(f"{study} trial {trial.number}")
            kept = load_or_refit(context, trial)
        members.append((study, trial.number, weight, kept))
    return members, retrained


def _kept_models(context: Context, trial: BestTrial) -> tuple[list[FittedModel] | None, str | None]:
    """(the models of a trial, None), or (None, why they have to be trained again)."""
    if context.data.split.ordered:
        return None, "rows in time order are learned as a whole at the end"
    try:
        kept = context.artefacts.load(trial.study_id, trial.number)
    except NotKept as error:
        return None, str(error)
    return kept.models, kept.why_no_models


def _how(context: Context, chosen: Chosen, *, refit: bool) -> str:
    folds, ordered = len(context.data.split.folds), context.data.split.ordered
    one = "one model of the whole search part" if ordered else f"the mean of {folds} fold models"
    if folds == 1 and not ordered:
        one = "the model of the one training part"
    if refit:
        one = "one model of all rows" if ordered else "a mean of models trained on all rows"
    if len(chosen.weighed) > 1:
        return f"A weighted mean of {len(chosen.weighed)} trials, each of them {one}."
    trial = chosen.weighed[0][2]
    return f"{one[0].upper()}{one[1:]}: {trial.model}, trial {trial.number}."


# -- rows ------------------------------------------------------------------------------------


def _schema(context: Context, experiment: Experiment) -> tuple[tuple[Column, ...], Ints | None]:
    """(the columns of X, the times of its rows), from the copy that the experiment keeps.

    Copies of earlier versions have neither: then from the source, if it is what it was.
    """
    data, kept = experiment.dataset, context.data
    assert data is not None
    if kept.features:
        return kept.features, kept.times
    again = None
    with contextlib.suppress(HyperionError):
        again = load(
            data.path or data.name,
            target=data.target,
            time_column=data.time_column or "none",
            task=experiment.task,
            groups=data.group_column,
        )
    if again is None or again.sha256 != data.sha256:
        where = data.path or f"the bundled set {data.name} ({', '.join(data_sets())})"
        raise HyperionError(
            f"{experiment.name} was started by an earlier version, which kept no names of columns, "
            f"and {where} is not what it was: run it again under another --name."
        )
    columns = ((f.name, f.categories if f.kind == "category" else None) for f in again.features)
    return tuple(columns), again.times


def _known_rows(
    context: Context,
    members: Sequence[tuple[str, int, float, Sequence[FittedModel]]],
    times: Ints | None,
) -> Known | None:
    """For models that look back: the held-out rows and those before them."""
    data, past = context.data, context.data.past
    if past is None and all(model.tail is None for *_, models in members for model in models):
        return None
    first = _first_known(data)
    if past is None or times is None:
        return Known(np.array(data.X[first:]), None if times is None else times[first:])
    # The rows of which not all was known that they were asked for are known rows as well.
    later = past.times[len(past.times) - len(past.later) :]
    return Known(
        np.concatenate([data.X[first:], past.later]),
        np.concatenate([times[first:], later]),
        past.series[int(past.at[0]) + first :],
        past.times[int(past.at[0]) + first :],
    )


def _first_known(data: Snapshot) -> int:
    """Where the rows begin that lie in the folder: what came before the held-out ones, and those.

    Without held-out rows the latest ones: new rows come behind them.
    """
    held_out = data.split.held_out
    return max(0, (int(held_out[0]) if len(held_out) else len(data.X)) - MOST_CONTEXT)


def _check(context: Context, contents: Contents, back: Predictor, times: Ints | None) -> Floats:
    """What the folder predicts for the held-out rows; HyperionError unless the models do too.

    Without any, for the last rows of all.
    """
    data, first = context.data, _first_known(context.data)
    rows = data.split.held_out if len(data.split.held_out) else data.split.search[-LAST:]
    before = data.X[first : rows[0]] if data.split.ordered else None
    parts = [
        np.mean([model.predict(data.X[rows], before) for model in models], axis=0)
        for *_, models in contents.members
    ]
    wanted = predict(parts, [weight for _, _, weight, _ in contents.members])
    known = back.context
    if known is not None:
        before = known.X[: rows[0] - first] if times is None else known.before(times[rows])
    found = back.predict_encoded(data.X[rows], before)
    away = float(np.max(np.abs(found - wanted), initial=0.0))
    size = float(np.max(np.abs(wanted), initial=0.0))
    if not math.isfinite(away) or away > CLOSE * size:
        raise HyperionError(
            f"Not exported: read back, the models are {away:.3g} off on {len(rows):,} rows."
        )
    return found


def _again(context: Context, chosen: Chosen, predicted: Floats, *, refit: bool) -> float | None:
    if chosen.held_out_score is None or refit:
        return None
    return context.metric.score(context.data.truth[context.data.split.held_out], predicted)
