"""What chosen predictors said of the held-out rows, kept for comparing them row by row.

<artefacts of the experiment>/held_out/<study id>.npz, and `ensemble.npz`: float64 predictions of
the held-out rows in their order, (rows,) or (rows, classes), and the number of the trial that they
are of. Written when the held-out part is opened, so that a comparison opens nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from engines.files import make_private_folder

if TYPE_CHECKING:
    from pathlib import Path

    from engines.run.context import Context
    from engines.study.location import Location

Floats = npt.NDArray[np.float64]

ENSEMBLE = "ensemble"
NO_TRIAL = -1


def keep(context: Context, whose: int | str, number: int | None, predicted: Floats) -> None:
    """Keep the predictions of a study's trial, or of the ensemble; without room they are not."""
    path = _path(context.location, context.experiment_id, whose)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        make_private_folder(path.parent)
        descriptor = os.open(partial, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
        with open(descriptor, "wb") as file:
            trial = np.array(NO_TRIAL if number is None else number)
            np.savez(file, allow_pickle=False, predicted=predicted, trial=trial)
        partial.replace(path)
    except OSError as error:
        # They can be made again; a study must not end otherwise for want of them.
        logging.info("held-out predictions not kept: %s", error.strerror)
        for stale in (partial, path):  # what lies there may be of an earlier ensemble
            with contextlib.suppress(OSError):
                stale.unlink(missing_ok=True)


def load(
    location: Location, experiment_id: int, whose: int | str, number: int | None
) -> Floats | None:
    """The predictions of that trial (None: of the ensemble), or None if they are not there."""
    path = _path(location, experiment_id, whose)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            if int(arrays["trial"]) != (NO_TRIAL if number is None else number):
                return None
            return np.asarray(arrays["predicted"], dtype=np.float64)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _path(location: Location, experiment_id: int, whose: int | str) -> Path:
    return location.artefacts(experiment_id) / "held_out" / f"{whose}.npz"
