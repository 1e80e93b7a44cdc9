"""Where things lie: the store and the folder beside it. No other module builds a path.

studies.db                          the store
studies.db.d/init.lock              held while the file is created or migrated
studies.db.d/run/<id>/runner.lock   held by the runner of experiment <id>
studies.db.d/logs/<id>/             runner.log and one log a worker slot
studies.db.d/data/<id>/             the data of the experiment as the workers read it
studies.db.d/checkpoints/<id>/      a folder for each running trial that saves its state
studies.db.d/artefacts/<id>/        fold models and predictions of the best trials
studies.db.d/seen/<uid>.json        how things stood when a user last left the app

A store in PostgreSQL has the same folder on each machine that works on it, named after the
database: `postgresql-<host>-<database>-<hash>.d` in the home of the default store.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

import platformdirs

from engines.errors import BadInput
from engines.files import typed_path

APP_NAME = "hyperion-tui"
STORE_VARIABLE = "HYPERION_STORAGE"

FOLDERS = ("run", "logs", "data", "checkpoints", "artefacts")
"""What lies beside a store, each with a folder for each experiment."""

LONGEST_NAME = 247
"""In bytes: SQLite adds `-journal`, and 255 is the most that a folder takes."""

LONGEST_PATH = 500
"""In bytes: SQLite's own limit is 512, with what it adds."""


@dataclass(frozen=True, slots=True)
class Location:
    """The place of one store.

    path: the SQLite file, absolute; for a database server the name that the folder beside it
    derives from, where no file is. url: of a database server, with its password, or None. It is
    never shown: print `shown`.
    """

    path: Path
    url: str | None = field(default=None, repr=False)

    @property
    def is_file(self) -> bool:
        """Whether the store is a SQLite file and not a database on a server."""
        return self.url is None

    @property
    def shown(self) -> str:
        """The store as it may be shown and logged: a path, or a URL without its password."""
        return str(self.path) if self.url is None else without_password(self.url)

    @property
    def may_exist(self) -> bool:
        """Whether there is something to open: a file, or a server, which only it can tell."""
        return self.url is not None or self.path.exists()

    @property
    def option(self) -> str:
        """What `locate` turns into this location again. Secret: only for an environment."""
        return str(self.path) if self.url is None else self.url

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

    def seen(self, uid: int) -> Path:
        """The file that says how things stood when a user last looked."""
        return self.side / "seen" / f"{uid}.json"

    def logs(self, experiment_id: int) -> Path:
        """The folder of an experiment's logs."""
        return self.side / "logs" / str(experiment_id)

    def checkpoint(self, experiment_id: int, trial_id: int) -> Path:
        """The folder in which a trial saves its state while it runs."""
        return self.side / "checkpoints" / str(experiment_id) / str(trial_id)

    def artefacts(self, experiment_id: int) -> Path:
        """The folder of what an experiment's best trials left behind."""
        return self.side / "artefacts" / str(experiment_id)

    def data(self, experiment_id: int) -> Path:
        """The folder of an experiment's data snapshot."""
        return self.side / "data" / str(experiment_id)

    def folders(self, experiment_id: int) -> list[Path]:
        """Every folder that an experiment can have beside the store."""
        return [self.side / kind / str(experiment_id) for kind in FOLDERS]


def home(environment: Mapping[str, str] | None = None) -> Path:
    """The folder of the default store: HYPERION_HOME or the user's data folder."""
    environment = os.environ if environment is None else environment
    named = environment.get("HYPERION_HOME")
    return typed_path(named) if named else Path(platformdirs.user_data_dir(APP_NAME))


def locate(option: str | None = None, environment: Mapping[str, str] | None = None) -> Location:
    """The store that is meant: `option` (path or URL), HYPERION_STORAGE, the default.

    A URL is `sqlite:///FILE` or `postgresql://[user[:password]@]host[:port]/database`.
    Raises BadInput for a URL of another kind of database, or a path that no file can have.
    """
    environment = os.environ if environment is None else environment
    named = option or environment.get(STORE_VARIABLE) or ""
    if not named:
        named = str(home(environment).absolute() / "studies.db")
    elif "://" in named:
        scheme, _, rest = named.partition("://")
        kind = scheme.split("+")[0]
        if kind in ("postgresql", "postgres"):
            return _on_server(f"postgresql://{rest}", environment)
        if kind != "sqlite":
            raise BadInput(
                f"--store {scheme}://...: a store is a SQLite file or a PostgreSQL database; "
                "give a path such as studies.db, or postgresql://user@host/database."
            )
        named = rest.removeprefix("/") or "studies.db"
    try:
        return Location(_behind_link(Path(named).expanduser().absolute()))
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        shown = named if len(named) <= 80 else f"{named[:40]}..."
        raise BadInput(f"--store {shown}: {reason}; name another file.") from error


def _behind_link(path: Path) -> Path:
    """The file that a path means: two names of one file must have one folder beside it.

    Raises BadInput for a link that somebody else made, or that leads to somebody else's file: it
    may lead elsewhere tomorrow, or have us write where its maker can't.
    """
    path.exists()  # a name that no file can have is refused here
    target = path.resolve() if path.is_symlink() else path
    if len(os.fsencode(target.name)) > LONGEST_NAME or len(os.fsencode(target)) > LONGEST_PATH:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    if target == path:
        return path
    ours = (os.geteuid(), 0)
    link_owner = path.lstat().st_uid
    target_owner = target.stat().st_uid if target.exists() else link_owner
    for what, owner in (("link", link_owner), ("file", target_owner)):
        if owner not in ours:
            raise BadInput(
                f"--store {path} is a link to {target}, and the {what} belongs to {_user(owner)}: "
                f"if that is the store that you mean, name it itself, --store {target}."
            )
    return target


def _user(uid: int) -> str:
    import pwd  # only to say whose it is

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def has_password(option: str) -> bool:
    """Whether what a person typed for a store is a URL with a password in it."""
    return "://" in option and without_password(option) != option


def without_password(url: str) -> str:
    """A URL with `***` for its password, wherever it stands."""
    parts = urlsplit(url)
    host = parts.netloc
    if "@" in host:
        user, _, server = host.rpartition("@")
        name, colon, _ = user.partition(":")
        host = f"{name}{':***' if colon else ''}@{server}"
    query = re.sub(r"(?i)(password=)[^&]*", r"\1***", parts.query)
    return urlunsplit((parts.scheme, host, parts.path, query, ""))


def _on_server(url: str, environment: Mapping[str, str]) -> Location:
    parts = urlsplit(url)
    database = unquote(parts.path.removeprefix("/"))
    try:
        server = f"{parts.hostname or 'local'}:{parts.port or 5432}"
    except ValueError as error:
        raise BadInput(f"--store {without_password(url)}: {error}.") from error
    if not database or "/" in database:
        raise BadInput(
            f"--store {without_password(url)} names no database: "
            "give postgresql://user@host/database."
        )
    import hashlib  # 4 MiB, which a runner of a file does without

    # The same database is the same folder, whoever logs in and however it is spelled.
    elsewhere = [pair for pair in parse_qsl(parts.query) if pair[0] in ("host", "hostaddr", "port")]
    mark = hashlib.sha256(f"{server}/{database}{elsewhere}".encode()).hexdigest()[:8]
    name = f"postgresql-{quote(parts.hostname or 'local', safe='')}-{quote(database, safe='')}"
    return Location(home(environment).absolute() / f"{name[:100]}-{mark}", url)
