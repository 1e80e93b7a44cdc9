"""What the declarations of all networks share: training, windows, and the form of a network.

Epochs are not searched: training stops early by rows that are set aside. Ranges are those that
auto-sklearn, the tabular benchmark of Gorishniy et al. (arXiv 2106.11959) and common practice for
short series have together. Batches are cut to an eighth of the rows.
"""

from __future__ import annotations

from typing import Any

from engines.models.needs import rows_in_order
from engines.models.spec import Cost, Form, ModelSpec
from engines.search.space import Choice, Float, Int, Parameter, Space

TRAINING: dict[str, Parameter] = {
    "dropout": Float(0.0, 0.5),
    "learning_rate": Float(1e-5, 1e-2, log=True),
    "weight_decay": Float(1e-6, 1e-2, log=True),
    "batch_size": Choice((16, 32, 64, 128, 256, 512)),
}
"""What every network of rows or windows searches beside its sizes."""

CONTEXT = Int(8, 96, log=True, at_most="context_rows")
"""Rows of a window; every model of an experiment is scored on the same rows, whatever it reads."""


def training(rate: float, dropout: float, decay: float = 1e-4, batch: int = 64) -> dict[str, Any]:
    """A set of the parameters of `TRAINING`."""
    return {
        "dropout": dropout,
        "learning_rate": rate,
        "weight_decay": decay,
        "batch_size": batch,
    }


def network(
    family: str,
    name: str,
    build: str,
    summary: str,
    space: dict[str, Parameter],
    sets: tuple[dict[str, Any], ...],
    cost: Cost,
    most_rows: int,
    prior: float,
    *,
    windows: bool = False,
    own: bool = False,
) -> ModelSpec:
    """A network of a family. build: its estimators' name there, without what they predict.

    sets: the defaults, and the rest of the portfolio. own: see `Form`.
    """

    def form(kind: str) -> Form:
        return Form(
            build=f"engines.models.{family}.estimators:{build}{kind}",
            space=Space(space),
            defaults=sets[0],
            portfolio=sets[1:],
            cost=cost,
            seed_argument="seed",
            columns="scaled",
            most_rows=most_rows,
            needs=(rows_in_order(),) if windows else (),
            windows=windows,
            resumes=True,
            gpu=True,
            joint=True,
            own=own,
            prior=prior,
        )

    return ModelSpec(
        name=name,
        family=family,
        summary=summary,
        package="torch",
        install='pip install "hyperion-tui[deep]"',
        trials=25,
        forms={"regression": form("Regressor"), "classification": form("Classifier")},
    )
