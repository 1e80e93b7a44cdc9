"""The data sets that are known by name: what they are called, hold and may be used for.

The CSV files lie beside this module, README.md says where each is from. `diabetes` is not
copied: it is read from scikit-learn's own files, located without importing scikit-learn. Other
packages add theirs by entry points.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from engines import plugins
from engines.errors import PackageMissing

if TYPE_CHECKING:
    import pandas as pd

_UCI = "CC BY 4.0"
_DIABETES_COLUMNS = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")


@dataclass(frozen=True)
class Bundled:
    """One line of `data list`. `columns` counts all columns, target and time included.

    file: where the CSV or Parquet file of another package lies; "" for ours.
    """

    name: str
    rows: int
    columns: int
    target: str
    time_column: str | None
    licence: str
    description: str
    task: str = "regression"
    file: str = ""

    @property
    def ordered(self) -> bool:
        return self.time_column is not None

    @property
    def path(self) -> Path:
        """The CSV file (absent for `diabetes`, which scikit-learn holds)."""
        return Path(self.file) if self.file else Path(__file__).with_name(f"{self.name}.csv")


_SETS = (
    Bundled(
        "abalone",
        4177,
        9,
        "rings",
        None,
        _UCI,
        "Age of shellfish, as rings, from size and weight",
    ),
    Bundled(
        "airfoil",
        1503,
        6,
        "sound_pressure_level_db",
        None,
        _UCI,
        "Noise of wing sections in a wind tunnel",
    ),
    Bundled(
        "bikeshare",
        8645,
        14,
        "bikers",
        "time",
        _UCI,
        "Bicycles rented per hour in Washington, 2011",
    ),
    Bundled(
        "concrete",
        1030,
        9,
        "strength_mpa",
        None,
        _UCI,
        "Compressive strength of concrete from its mixture and age",
    ),
    Bundled(
        "diabetes",
        442,
        11,
        "progression",
        None,
        "BSD-3-Clause (scikit-learn)",
        "Progress of diabetes one year after ten measurements",
    ),
)
BUNDLED: dict[str, Bundled] = {entry.name: entry for entry in _SETS}


@cache
def data_sets() -> dict[str, Bundled]:
    """Every set by its name: ours, then those of other packages."""
    known = dict(BUNDLED)

    def refuse(found: Bundled) -> str | None:
        if not found.name or found.name != found.name.casefold():
            return f"data set {found.name}: a name is in lower case"
        if found.name in known:
            return f"data set {found.name}: the name is taken"
        if not found.file or not found.path.is_file():
            return f"data set {found.name}: there is no file `{found.file}`"
        known[found.name] = found
        return None

    plugins.plugged(plugins.DATASETS, Bundled, refuse)
    return known


def read_diabetes() -> tuple[Path, pd.DataFrame]:
    """(file, frame of 442 rows with the ten raw measurements and `progression`).

    Raises PackageMissing when scikit-learn or its data files are not installed.
    """
    import pandas as pd  # 0.3 s; a screen lists the sets without it

    spec = find_spec("sklearn")
    folders = spec.submodule_search_locations if spec is not None else None
    folder = Path(folders[0] if folders else "", "datasets", "data")
    features, target = folder / "diabetes_data_raw.csv.gz", folder / "diabetes_target.csv.gz"
    if not folders or not features.is_file() or not target.is_file():
        raise PackageMissing(
            "the data set 'diabetes' is read from scikit-learn, which is not installed; "
            "install scikit-learn or name another data set"
        )
    frame = pd.read_csv(features, sep=" ", header=None, names=list(_DIABETES_COLUMNS))
    frame["progression"] = pd.read_csv(target, header=None)[0]
    return features, frame
