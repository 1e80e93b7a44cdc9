"""Where things lie: the store's file and the folder beside it. No other module builds a path.

studies.db                          the store
studies.db.d/init.lock              held while the file is created or migrated
studies.db.d/run/<id>/runner.lock   held by the runner of experiment <id>
studies.db.d/logs/<id>/             runner.log and one log a worker slot
studies.db.d/data/<id>/             the data of the experiment as the workers read it
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from engines.errors import BadInput

APP_NAME = "hyperion-tui"


@dataclass(frozen=True, slots=True)
class Location:
    """The place of one store. `path` is absolute; folders are made by who writes into them."""

    path: Path

    @property
    def side(self) -> Path:
        """The folder beside the store, which holds everything that is not in the database."""
        return self.path.with_name(self.path.name + ".d")

    @property
    def init_lock(self) -> Path:
        """The file locked while the store is created or migrated."""
        return self.side / "init.lock"

    def runner_lock(self, experiment_id: int) -> Path:
        """The file whose lock says that an experiment's runner lives."""
        return self.side / "run" / str(experiment_id) / "runner.lock"

    def logs(self, experiment_id: int) -> Path:
        """The folder of an experiment's logs."""
        return self.side / "logs" / str(experiment_id)

    def data(self, experiment_id: int) -> Path:
        """The folder of an experiment's data snapshot."""
        return self.side / "data" / str(experiment_id)


def home(environment: Mapping[str, str] | None = None) -> Path:
    """The folder of the default store: HYPERION_HOME or the user's data folder."""
    environment = os.environ if environment is None else environment
    named = environment.get("HYPERION_HOME")
    return Path(named).expanduser() if named else Path(platformdirs.user_data_dir(APP_NAME))


def locate(option: str | None = None, environment: Mapping[str, str] | None = None) -> Location:
    """The store that is meant: `option` (path or sqlite URL), HYPERION_STORAGE, the default.

    Raises BadInput for a URL of another kind of database, or a path that no file can have.
    """
    environment = os.environ if environment is None else environment
    named = option or environment.get("HYPERION_STORAGE") or ""
    if not named:
        return Location(home(environment).absolute() / "studies.db")
    if "://" in named:
        scheme, _, rest = named.partition("://")
        if scheme.split("+")[0] != "sqlite":
            raise BadInput(
                f"--store {scheme}://...: only SQLite files are supported in this version; "
                "give a path such as studies.db."
            )
        named = rest.removeprefix("/") or "studies.db"
    path = Path(named).expanduser().absolute()
    try:
        path.exists()
    except OSError as error:
        raise BadInput(f"--store {named[:40]}...: {error.strerror}; name another file.") from error
    return Location(path)
