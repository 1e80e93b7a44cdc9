"""A package that adds a model, a metric and a data set, installed into a folder."""

from __future__ import annotations

from pathlib import Path

DECLARED = """
from pathlib import Path

from engines.data.bundled import Bundled
from engines.data.scorers import Scorer
from engines.models.spec import Cost, Form, ModelSpec
from engines.search.space import Float, Space

MODEL = ModelSpec(
    name="shrunken_mean",
    family="sklearn",
    summary="the mean, a little smaller",
    package="planted",
    install="pip install planted",
    forms={
        "regression": Form(
            build="planted.learn:ShrunkenMean",
            space=Space({"by": Float(0.0, 1.0)}),
            defaults={"by": 0.1},
            cost=Cost(0.001),
        )
    },
)
METRIC = Scorer("worst_error", "planted.learn:worst_error", "the largest", maximize=False)
FILE = str(Path(__file__).with_name("h.csv"))
DATA = Bundled("hills", 60, 2, "height", None, "CC0-1.0", "Heights", file=FILE)
"""

LEARN = """
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin


class ShrunkenMean(RegressorMixin, BaseEstimator):
    def __init__(self, by=0.1):
        self.by = by

    def fit(self, X, y):
        self.mean_ = float(np.mean(y)) * (1 - self.by)
        return self

    def predict(self, X):
        return np.full(len(X), self.mean_)


def worst_error(y_true, y_pred):
    return float(np.abs(y_true - y_pred).max())
"""

ENTRIES = """
[hyperion.models]
shrunken = planted.declare:MODEL

[hyperion.metrics]
worst = planted.declare:METRIC

[hyperion.datasets]
hills = planted.declare:DATA
"""


def install(folder: Path, entries: str = ENTRIES, version: str = "1.0", **files: str) -> None:
    """Write the package into a folder of `sys.path`. files: more modules of it, by name."""
    package = folder / "planted"
    package.mkdir(exist_ok=True)
    modules = {"__init__": "", "declare": DECLARED, "learn": LEARN, **files}
    for name, text in modules.items():
        (package / f"{name}.py").write_text(text)
    rows = "".join(f"{i % 7},{i % 7 * 2 + i % 3}\n" for i in range(60))
    (package / "h.csv").write_text(f"slope,height\n{rows}")
    for old in folder.glob("planted-*.dist-info"):
        for file in old.iterdir():
            file.unlink()
        old.rmdir()
    metadata = folder / f"planted-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: planted\nVersion: {version}\n"
    )
    (metadata / "entry_points.txt").write_text(entries)
