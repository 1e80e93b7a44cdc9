"""Warm starts: what was best in an earlier study is tried early in a new one.

Only parameters are taken, never scores: the data may be others, so each set is trained and scored
here like any other trial.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

from engines.errors import BadInput
from engines.study.location import Location
from engines.study.reader import Reader

Sets = Mapping[str, list[dict[str, Any]]]
"""By model, sets of parameters, the best of each study that was named."""


def best_sets(
    location: Location, name: str, models: Collection[str], tell: Callable[[str], None] | None
) -> Sets:
    """The best parameters of each study of these models that `name` means, by model.

    Raises BadInput for a name that is not known, or where no trial of these has completed.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    with contextlib.closing(Reader(location)) as reader:
        for _, study in reader.find_studies(name):
            if study.best is None or study.model not in models:
                continue
            params = reader.best_params(study.study_id, study.best.number)
            found.setdefault(study.model, []).append(params)
            if tell is not None:
                tell(f"note: {study.model} also tries trial {study.best.number} of {study.name}.")
    if not found:
        raise BadInput(
            f"--warm-start {name}: no trial of a model of this run that takes parameters has "
            "completed there; name another study."
        )
    return found
