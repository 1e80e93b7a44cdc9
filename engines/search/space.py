"""Search spaces as data: they can be printed, compared, stored and checked before trial 0.

A space is a list of parameters in order. A parameter may be active only `when` an earlier one
has certain values, and its upper bound may be a fact of the data (`"train_rows"`), which
`Space.bind` replaces by a number. `Derived` entries turn searched values into the arguments of
the model (a width and a depth into the tuple of layer sizes).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol, TypeAlias

Condition: TypeAlias = Mapping[str, tuple[Any, ...]]


class Suggester(Protocol):
    """What a space asks of a trial; `optuna.Trial` has it."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float: ...
    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int: ...
    def suggest_categorical(self, name: str, choices: list[Any]) -> Any: ...


@dataclass(frozen=True, slots=True)
class Float:
    """A real number in [low, high]; `log` searches its logarithm."""

    low: float
    high: float
    log: bool = False
    when: Condition = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Int:
    """A whole number in [low, high]. `at_most` names a fact of the data that caps `high`."""

    low: int
    high: int
    log: bool = False
    step: int = 1
    at_most: str | None = None
    when: Condition = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values: text, numbers, booleans or None."""

    values: tuple[Any, ...]
    when: Condition = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Derived:
    """An argument of the model computed from searched values, which it replaces.

    rule: a name in `RULES`. of: the parameters it takes, in order; they don't reach the model.
    """

    rule: str
    of: tuple[str, ...]


Parameter: TypeAlias = Float | Int | Choice

RULES: Mapping[str, Callable[..., Any]] = {
    # (width, depth) -> a tuple of `depth` equal widths
    "equal_layers": lambda width, depth: (width,) * depth,
}


class SpaceError(ValueError):
    """A declared space that can't be searched: which parameter, and what is wrong with it."""


@dataclass(frozen=True)
class Space:
    """Parameters in the order they are suggested, and arguments derived from them."""

    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    derived: Mapping[str, Derived] = field(default_factory=dict)

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for name, parameter in self.parameters.items():
            _check(name, parameter)
            for parent in parameter.when:
                if parent not in seen:
                    raise SpaceError(f"`{name}` depends on `{parent}`, which is not before it")
            seen.add(name)
        for name, derived in self.derived.items():
            if derived.rule not in RULES:
                raise SpaceError(f"`{name}`: no rule `{derived.rule}`; one of {', '.join(RULES)}")
            if missing := set(derived.of) - seen:
                raise SpaceError(f"`{name}` is derived from unknown {sorted(missing)}")

    def bind(self, facts: Mapping[str, int]) -> Space:
        """The same space with every `at_most` replaced by a number.

        facts: `train_rows` (rows of the smallest training fold) and `columns`. A cap below
        `low` moves both bounds to the cap.
        """
        bound: dict[str, Parameter] = {}
        for name, parameter in self.parameters.items():
            if isinstance(parameter, Int) and parameter.at_most is not None:
                high = max(1, min(parameter.high, facts[parameter.at_most]))
                low = min(parameter.low, high)
                high -= (high - low) % parameter.step
                parameter = replace(parameter, low=low, high=high, at_most=None)
            bound[name] = parameter
        return replace(self, parameters=bound)

    def suggest(self, trial: Suggester) -> dict[str, Any]:
        """Ask `trial` for every active parameter; returns them by name."""
        chosen: dict[str, Any] = {}
        for name, p in self.parameters.items():
            if not _is_active(p, chosen):
                continue
            if isinstance(p, Float):
                chosen[name] = trial.suggest_float(name, p.low, p.high, log=p.log)
            elif isinstance(p, Int):
                chosen[name] = trial.suggest_int(name, p.low, p.high, step=p.step, log=p.log)
            else:
                chosen[name] = trial.suggest_categorical(name, list(p.values))
        return chosen

    def arguments(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What the model is built with: searched values, with the derived ones in their place."""
        arguments = dict(params)
        for name, derived in self.derived.items():
            if all(source in params for source in derived.of):
                arguments[name] = RULES[derived.rule](*(params[source] for source in derived.of))
        used = {source for derived in self.derived.values() for source in derived.of}
        return {k: v for k, v in arguments.items() if k not in used or k in self.derived}

    def clip(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """A set inside this space, made of `params`.

        Numbers are moved into their bounds, and down onto their steps; a choice that is none
        becomes the first one; inactive parameters are left out, and those that are missing are in
        the middle.
        """
        kept: dict[str, Any] = {}
        for name, p in self.parameters.items():
            if _is_active(p, kept):
                kept[name] = _nearest(p, params[name]) if name in params else _middle(p)
        return kept

    def contains(self, params: Mapping[str, Any]) -> bool:
        """Whether `params` names exactly the active parameters, each within its bounds."""
        active = {n for n, p in self.parameters.items() if _is_active(p, params)}
        return set(params) == active and all(
            _holds(p, params[n]) for n, p in self.parameters.items() if n in active
        )

    def to_json(self) -> list[dict[str, Any]]:
        """The space as plain data, one entry a parameter, for the store and for comparison."""
        entries: list[dict[str, Any]] = [
            {"name": name, "kind": type(p).__name__.lower(), **_plain(p)}
            for name, p in self.parameters.items()
        ]
        return entries + [
            {"name": name, "kind": "derived", "rule": d.rule, "of": list(d.of)}
            for name, d in self.derived.items()
        ]

    @classmethod
    def from_json(cls, entries: list[dict[str, Any]]) -> Space:
        """The inverse of `to_json`."""
        kinds = {"float": Float, "int": Int, "choice": Choice}
        parameters: dict[str, Parameter] = {}
        derived: dict[str, Derived] = {}
        for entry in entries:
            rest = {k: v for k, v in entry.items() if k not in ("name", "kind")}
            if entry["kind"] == "derived":
                derived[entry["name"]] = Derived(rest["rule"], tuple(rest["of"]))
                continue
            rest["when"] = {k: tuple(v) for k, v in rest["when"].items()}
            if "values" in rest:
                rest["values"] = tuple(rest["values"])
            parameters[entry["name"]] = kinds[entry["kind"]](**rest)
        return cls(parameters, derived)


def _is_active(parameter: Parameter, chosen: Mapping[str, Any]) -> bool:
    return all(
        parent in chosen and chosen[parent] in values for parent, values in parameter.when.items()
    )


def _holds(parameter: Parameter, value: Any) -> bool:
    if isinstance(parameter, Choice):
        return value in parameter.values
    kinds = int if isinstance(parameter, Int) else int | float
    is_number = isinstance(value, kinds) and not isinstance(value, bool)
    return is_number and parameter.low <= value <= parameter.high


def _nearest(parameter: Parameter, value: Any) -> Any:
    if isinstance(parameter, Choice):
        return value if value in parameter.values else parameter.values[0]
    inside = min(max(value, parameter.low), parameter.high)
    if isinstance(parameter, Int) and parameter.step > 1:
        inside = parameter.low + (inside - parameter.low) // parameter.step * parameter.step
    return inside


def _middle(parameter: Parameter) -> Any:
    if isinstance(parameter, Choice):
        return parameter.values[0]
    low, high = parameter.low, parameter.high
    middle = math.sqrt(low * high) if parameter.log else (low + high) / 2
    return _nearest(parameter, int(middle) if isinstance(parameter, Int) else middle)


def _plain(parameter: Parameter) -> dict[str, Any]:
    entry = asdict(parameter)
    entry["when"] = {k: list(v) for k, v in parameter.when.items()}
    if isinstance(parameter, Choice):
        entry["values"] = list(parameter.values)
    return entry


def _check(name: str, parameter: Parameter) -> None:
    if isinstance(parameter, Choice):
        if not parameter.values:
            raise SpaceError(f"`{name}` has no choices")
        for value in parameter.values:
            plain = value is None or isinstance(value, str | int | float | bool)
            if not plain or (isinstance(value, float) and not math.isfinite(value)):
                raise SpaceError(f"`{name}`: choice {value!r} is not text, a number or a boolean")
        return
    low, high = parameter.low, parameter.high
    if not (math.isfinite(low) and math.isfinite(high)):
        raise SpaceError(f"`{name}`: bounds {low} and {high} must be finite")
    if low > high:
        raise SpaceError(f"`{name}`: lower bound {low} is above upper bound {high}")
    if parameter.log and low <= 0:
        raise SpaceError(f"`{name}`: a logarithmic range must start above 0, not at {low}")
    if isinstance(parameter, Int) and parameter.step < 1:
        raise SpaceError(f"`{name}`: step must be at least 1, got {parameter.step}")
    if isinstance(parameter, Int) and parameter.log and parameter.step != 1:
        raise SpaceError(f"`{name}`: a logarithmic range can't have a step")
