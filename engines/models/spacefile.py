"""Search spaces of people's own: a TOML file that narrows or overrides what models declare.

[xgboost.learning_rate]         # a model and one of its parameters
low = 0.01                      # what is not said stays as declared
high = 0.1

[svr.kernel]
choices = ["rbf", "linear"]

[svr.gamma]
value = 0.1                     # held fixed
when = { kernel = ["rbf"] }     # searched only then

Everything is checked before an experiment is made, and every problem is found, not the first one
alone. Nothing is imported for it.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engines.errors import BadInput, one_line
from engines.models import catalogue
from engines.models.catalogue import nearest
from engines.models.spec import TASKS, Form, ModelSpec
from engines.search.space import Choice, Float, Int, Parameter, Space, SpaceError

KEYS = ("low", "high", "log", "step", "choices", "value", "when")

Tell = Callable[[str], None]
"""Takes a problem: what is wrong with an entry, without its name."""


@dataclass(frozen=True)
class Problem:
    """where: `model.parameter`, a model, or the file. text: what is wrong, and what is right."""

    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


@dataclass(frozen=True)
class SpaceFile:
    """A file without problems. entries: of each model, by its name in the catalogue, what it says
    of its parameters.
    """

    path: Path
    entries: Mapping[str, Mapping[str, Mapping[str, Any]]]

    def space(self, model: str, form: Form) -> Space:
        """The space of a model's form, as the file has it. Raises BadInput."""
        own = self.entries.get(model)
        if own is None:
            return form.space
        problems: list[Problem] = []
        found = _changed(model, form.space, own, problems.append)
        if found is None:
            raise BadInput(f"{self.path}: at this task, {_first(problems, self.path)}")
        return found

    def require_any(self, specs: list[ModelSpec]) -> None:
        """Raise BadInput if the file is about none of these models."""
        if not any(spec.name in self.entries for spec in specs):
            raise BadInput(
                f"{self.path} is about {', '.join(self.entries)}, and none of them is asked for."
            )


def load(path: Path) -> SpaceFile:
    """Read a file. Raises BadInput with its first problem, and how many more there are."""
    document = _read(path)
    problems = find_problems(document)
    if problems:
        raise BadInput(f"{path}: {_first(problems, path)}")
    return SpaceFile(path, {catalogue.find(name).name: own for name, own in document.items()})


def check(path: Path) -> list[Problem]:
    """All that is wrong with a file. Raises BadInput if it can't be read as TOML."""
    return find_problems(_read(path))


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise BadInput(f"{path} can't be read: {error.strerror}.") from error
    except ValueError as error:  # no TOML, no UTF-8, or a number of thousands of digits
        raise BadInput(f"{path} is no TOML: {one_line(error)}; mend it first.") from error


def _first(problems: list[Problem], path: Path) -> str:
    more = len(problems) - 1
    rest = f" (and {more} more: hyperion-tui check {path})" if more else ""
    return f"{problems[0]}{rest}"


def find_problems(document: Mapping[str, Any]) -> list[Problem]:
    """All that is wrong with a document, model by model."""
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    for name, own in document.items():
        try:
            spec = catalogue.find(name)
        except BadInput as error:
            problems.append(Problem(name, one_line(error)))
            continue
        if spec.name in seen:
            problems.append(Problem(name, f"the same model as {seen[spec.name]}: say it once"))
            continue
        seen[spec.name] = name
        if not isinstance(own, dict):
            problems.append(Problem(name, f"must be a table of parameters: [{name}.PARAMETER]"))
        elif spec.sequential:
            problems.append(Problem(name, "chooses its own parameters: leave it out"))
        else:
            problems += _problems_of(spec, own)
    if not document:
        problems.append(Problem("the file", "says nothing: give a table such as [ridge.alpha]"))
    return problems


def _problems_of(spec: ModelSpec, own: Mapping[str, Any]) -> list[Problem]:
    """Problems at every task; a parameter must be there at one of them at least."""
    spaces = [spec.form(task).space for task in TASKS if spec.does(task)]
    known = list(dict.fromkeys(name for space in spaces for name in space.parameters))
    problems: list[Problem] = []
    for name in own:
        if name not in known:
            hint = nearest(name, known) or f"; it has {', '.join(known) or 'none'}"
            problems.append(Problem(f"{spec.name}.{name}", f"no such parameter{hint}"))
    for space in spaces:
        there = {name: entry for name, entry in own.items() if name in space.parameters}
        _changed(spec.name, space, there, problems.append)
    return list(dict.fromkeys(problems))


def _changed(
    model: str,
    declared: Space,
    own: Mapping[str, Any],
    add: Callable[[Problem], None],
) -> Space | None:
    """The declared space with the entries in their place, or None once a problem was told."""
    found = dict(declared.parameters)
    told = 0
    for name, entry in own.items():
        problems: list[str] = []
        if name not in declared.parameters:
            hint = nearest(name, declared.parameters)
            problems.append(f"no such parameter at this task{hint}")
        else:
            made = _parameter(declared, name, entry, problems.append)
            if made is not None:
                found[name] = made
        for text in problems:
            add(Problem(f"{model}.{name}", text))
        told += len(problems)
    if told:
        return None
    try:
        return replace(declared, parameters=found)
    except SpaceError as error:
        add(Problem(model, str(error)))
        return None


def _parameter(space: Space, name: str, entry: Any, tell: Tell) -> Parameter | None:
    """One parameter as declared, with what the entry says, or None once a problem was told."""
    declared = space.parameters[name]
    if not isinstance(entry, dict):
        tell(f"must be a table of {', '.join(KEYS)}")
        return None
    unknown = [key for key in entry if key not in KEYS]
    for key in unknown:
        tell(f"`{key}` is unknown{nearest(key, KEYS) or '; it may be ' + ', '.join(KEYS)}")
    if unknown:
        return None
    when = declared.when
    if "when" in entry:
        found = _condition(space, name, entry["when"], tell)
        if found is None:
            return None
        when = found
    fixed = [key for key in ("choices", "value") if key in entry]
    ranged = [key for key in ("low", "high", "log", "step") if key in entry]
    if len(fixed) > 1 or (fixed and ranged):
        tell(f"{' and '.join([*fixed, *ranged])} exclude each other")
        return None
    if fixed:
        values = [entry["value"]] if "value" in entry else entry["choices"]
        return _choice(declared, values, when, tell)
    if not ranged:
        return replace(declared, when=when)
    if isinstance(declared, Choice):
        tell(f"is one of {_listed(declared.values)}: narrow it by `choices`")
        return None
    return _range(declared, {key: entry[key] for key in ranged}, when, tell)


def _choice(
    declared: Parameter, values: Any, when: Mapping[str, tuple[Any, ...]], tell: Tell
) -> Choice | None:
    if not isinstance(values, list) or not values:
        tell("`choices` must be a list of one value or more")
        return None
    found = [_as_declared(declared, value) for value in values]
    wrong = list(_strange(declared, found))
    for text in wrong:
        tell(text)
    if len(set(map(repr, found))) < len(found):
        tell("a choice is there twice")
        return None
    return None if wrong else Choice(tuple(found), when=when)


def _as_declared(declared: Parameter, value: Any) -> Any:
    """The declared value that is meant: TOML has no None, which is written "none", and 0 is 0.0."""
    if isinstance(declared, Choice):
        word = None if value == "none" else value
        for one in declared.values:
            if one == word and isinstance(one, bool) == isinstance(word, bool):
                return one
    elif isinstance(declared, Float) and isinstance(value, int) and _is_number(value):
        return float(value)
    return value


def _strange(declared: Parameter, values: list[Any]) -> Iterator[str]:
    """What is wrong with the values of a choice, one line each."""
    for value in values:
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{value} is not finite"
        elif isinstance(declared, Choice):
            if not any(value is one for one in declared.values):
                hint = nearest(str(value), [str(one) for one in declared.values])
                yield f"{value!r} is none of {_listed(declared.values)}{hint}"
        elif not _is_number(value) or (isinstance(declared, Int) and isinstance(value, float)):
            yield f"{value!r} is no {'whole ' if isinstance(declared, Int) else ''}number"


def _range(
    declared: Float | Int,
    entry: Mapping[str, Any],
    when: Mapping[str, tuple[Any, ...]],
    tell: Tell,
) -> Parameter | None:
    whole = isinstance(declared, Int)
    bad = 0
    for key, value in entry.items():
        if key == "log":
            right, wanted = isinstance(value, bool), "true or false"
        elif key == "step" and not whole:
            right, wanted = False, "left out: only whole numbers have steps"
        else:
            right = _is_number(value) and not (whole and isinstance(value, float))
            wanted = "a whole number" if whole else "a number"
            if right and not math.isfinite(value):
                right, wanted = False, "finite"
        if not right:
            tell(f"`{key}` must be {wanted}, not {value!r}")
            bad += 1
    if bad:
        return None
    changes = dict(entry)
    if not whole:
        changes |= {key: float(changes[key]) for key in ("low", "high") if key in changes}
    made = replace(declared, **changes, when=when)
    try:
        Space({"it": replace(made, when={})})
    except SpaceError as error:
        tell(str(error).removeprefix("`it`: "))
        return None
    return made


def _condition(
    space: Space, name: str, when: Any, tell: Tell
) -> Mapping[str, tuple[Any, ...]] | None:
    """`{ parent = [values] }` as a condition, or None once a problem was told."""
    if not isinstance(when, dict):
        tell("`when` must be a table such as { kernel = ['rbf'] }")
        return None
    before = list(space.parameters)[: list(space.parameters).index(name)]
    found: dict[str, tuple[Any, ...]] = {}
    for parent, values in when.items():
        listed = values if isinstance(values, list) else [values]
        if parent not in before:
            hint = nearest(parent, before) or f"; before it are {', '.join(before) or 'none'}"
            tell(f"`when`: no parameter `{parent}` before it{hint}")
            return None
        declared = space.parameters[parent]
        listed = [_as_declared(declared, value) for value in listed]
        strange = [value for value in listed if any(_strange(declared, [value]))]
        if not listed or strange:
            tell(f"`when`: `{parent}` is never {strange[0]!r}" if strange else "`when` is empty")
            return None
        found[parent] = tuple(listed)
    return found


def _is_number(value: Any) -> bool:
    """Whether a computer's numbers hold it: TOML has whole ones of any length."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < 2**53


def _listed(values: tuple[Any, ...]) -> str:
    return ", ".join(map(str, values))
