"""The person's own settings: one TOML file in the user's configuration folder, or none.

    workers = 4
    trials = 50
    data = "sp500"
    theme = "hyperion-light"
    notify = "bell"

    [keys]
    pause = "P"

A flag wins over the environment, the environment over the file, the file over the default. The
file is read when a command needs it, and what can't be used in it is told in one line.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from engines.errors import BadInput
from engines.study.location import APP_NAME
from hyperion_tui import actions, options

NOTIFY = ("off", "bell", "desktop")
SIGNS = ("auto", "unicode", "ascii")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. kind: what TOML must give. check: a parser of its text, which raises BadInput.

    variable: of the environment, wins over the file; None where there is none. check_variable: a
    parser of its own, for a variable that may say more than the file. default: in words.
    """

    name: str
    kind: type
    check: Callable[[str], object]
    variable: str | None
    default: str
    meaning: str
    check_variable: Callable[[str], object] | None = None

    def from_environment(self) -> object:
        """The value of its variable, None where that is unset or empty. Raises BadInput."""
        if self.variable is None:
            return None
        return options.from_environment(self.variable, self.check_variable or self.check)


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise BadInput(f"`{text}` is none of {', '.join(words)}")
        return text

    return parse


def _text(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise BadInput(f"{text[:40]!r} is no name or path")
    return text


SETTINGS: dict[str, Setting] = {
    s.name: s
    for s in (
        Setting("data", str, _text, None, "none", "what `run` learns from without --data"),
        Setting("workers", int, options.WORKERS, None, "by cores and memory", "processes of a run"),
        Setting(
            *("trials", int, options.TRIALS, "OPTUNA_TRIALS"),
            *("20, boosters 30, networks 25", "finished trials of a model"),
        ),
        Setting(
            *("theme", str, _one_of(*options.THEMES), "TEXTUAL_THEME", options.THEMES[0]),
            *("colours of the app", _text),
        ),
        Setting(
            *("notify", str, _one_of(*NOTIFY), None, "off"),
            "a sign when a study ends or has a new best: bell, or desktop for a notice",
        ),
        Setting(
            *("signs", str, _one_of(*SIGNS), None, "auto"),
            "what the app draws with: unicode, ascii, or auto for what LANG says",
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What the file says. values: by the name of a setting. keys: by the name of an action."""

    file: Path | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Effective:
    """A setting as it holds. origin: where its value is from."""

    name: str
    value: object
    origin: str
    meaning: str


def path() -> Path:
    """Where the file is looked for."""
    return Path(platformdirs.user_config_dir(APP_NAME)) / "config.toml"


def load() -> Settings:
    """The settings of the file; none where there is no file.

    Raises BadInput, naming the file, for what is no TOML, an unknown name, a wrong type or value.
    """
    file = path()
    try:
        text = file.read_bytes().decode()
        document = tomllib.loads(text)
    except (FileNotFoundError, NotADirectoryError):
        return Settings(file)
    except OSError as error:
        raise BadInput(f"{file}: {error.strerror}; correct it or move it away.") from error
    except ValueError as error:
        raise BadInput(f"{file} is no TOML: {error}.") from error
    keys = document.pop("keys", {})
    if not isinstance(keys, dict):
        raise BadInput(f'{file}: keys is a table: write `[keys]`, and below it `pause = "P"`.')
    return Settings(
        file,
        {name: _checked(file, name, value) for name, value in document.items()},
        _checked_keys(file, keys),
    )


def setting(name: str, given: Any = None) -> Any:
    """The value of a setting: `given` by a flag, the environment's, the file's, or None."""
    if given is not None:
        return given
    value = SETTINGS[name].from_environment()
    return load().values.get(name) if value is None else value


def effective() -> list[Effective]:
    """Every setting as it holds without a flag."""
    settings = load()
    found = []
    for known in SETTINGS.values():
        value, origin = known.from_environment(), f"environment {known.variable}"
        if value is None:
            value, origin = settings.values.get(known.name), str(settings.file)
        if value is None:
            value, origin = known.default, "default"
        found.append(Effective(known.name, value, origin, known.meaning))
    for name, keys in settings.keys.items():
        (action, *_) = actions.named(name)
        origin = str(settings.file)
        found.append(Effective(f"keys.{name}", keys, origin, action.description))
    return found


def _checked(file: Path, name: str, value: object) -> object:
    known = SETTINGS.get(name)
    if known is None:
        names = [*SETTINGS, "keys"]
        hint = _near(name, names) or f": known are {', '.join(names)}."
        raise BadInput(f"{file}: unknown setting `{name[:40]}`{hint}")
    # In Python a truth is a whole number, too.
    if not isinstance(value, known.kind) or isinstance(value, bool):
        wanted = {int: "a whole number", str: 'a text, as in "..."'}[known.kind]
        raise BadInput(f"{file}: {name} is {wanted}, not {_shown(value)}.")
    try:
        return known.check(str(value))
    except BadInput as error:
        raise BadInput(f"{file}: {name}: {error}.") from None


def _checked_keys(file: Path, keys: Mapping[str, object]) -> dict[str, str]:
    for name, value in keys.items():
        if not actions.named(name):
            near = _near(name, list(dict.fromkeys(a.name for a in actions.ACTIONS)))
            raise BadInput(
                f"{file}: there is no action `{name[:40]}`{near or ': see `?` in the app.'}"
            )
        if not isinstance(value, str):
            raise BadInput(f'{file}: keys.{name} is a text, as in "P", not {_shown(value)}.')
        problem = actions.why_no_key(value)
        if problem is not None:
            raise BadInput(f"{file}: keys.{name}: {problem}.")
    chosen = {name: str(value) for name, value in keys.items()}
    clash = actions.clash(chosen)
    if clash is not None:
        raise BadInput(f"{file}: keys: {clash}.")
    return chosen


def _near(name: str, names: list[str] | tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f": did you mean {close[0]}?" if close else ""


def _shown(value: object) -> str:
    kinds = {bool: "true or false", dict: "a table", list: "a list", float: "a number with a point"}
    return kinds.get(type(value), repr(value)[:40])
