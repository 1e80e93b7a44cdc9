"""A metric that a person defined in a notebook, on its way to the workers and into later sessions.

The function is pickled by value into the folder of the experiment's data. A pickle is code: it is
read back only if it is the one whose hash the store has, and only from folders that nobody else can
write to. Two functions of the same code have the same name, so that what they score is comparable.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.errors import BadInput, HyperionError, one_line
from engines.files import require_own

if TYPE_CHECKING:
    from engines.data.scoring import Metric

FILE = "metric.pickle"


@dataclass(frozen=True)
class OwnMetric:
    """A function of (y_true, y_pred) and its pickle. name: with a mark of its code."""

    name: str
    maximize: bool
    function: Callable[[Any, Any], Any]
    content: bytes

    def described(self) -> dict[str, Any]:
        """What the store remembers of it."""
        digest = hashlib.sha256(self.content).hexdigest()
        return {"name": self.name, "maximize": self.maximize, "sha256": digest}

    def metric(self, task: str, classes: Sequence[str]) -> Metric:
        """It as a metric of a task."""
        from engines.data.custom import own_metric

        return own_metric(
            self.name, self.function, maximize=self.maximize, task=task, classes=classes
        )

    def write(self, folder: Path) -> None:
        """Put the pickle into a folder that exists, for the owner alone."""
        descriptor = os.open(folder / FILE, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(self.content)


def own_metric_of(function: Any, *, maximize: bool) -> OwnMetric:
    """A function of (y_true, y_pred) as a metric.

    Raises BadInput for what can't be called, or can't be handed to another process.
    """
    if not callable(function):
        kind = type(function).__name__
        raise BadInput(f"A metric is a function of (y_true, y_pred), got {kind}.")
    import cloudpickle

    try:
        with _by_value(function):
            content = bytes(cloudpickle.dumps(function, protocol=5))
    except Exception as error:  # the border: whatever hangs on the function is pickled too
        raise BadInput(
            f"The metric can't be handed to workers ({type(error).__name__}: {one_line(error)}): "
            "make it a plain function that uses no open file, connection or lock."
        ) from error
    word = getattr(function, "__name__", type(function).__name__)
    mark = hashlib.sha256(_code_of(function, content)).hexdigest()[:8]
    return OwnMetric(f"{word}@{mark}", maximize, function, content)


def shown_name(name: str) -> str:
    """A metric's name as its maker knows it, without the mark of its code."""
    return name.partition("@")[0]


def load_metric(folder: Path, described: Mapping[str, Any], task: str, classes: Any) -> Metric:
    """The metric of an experiment. Raises HyperionError if it is gone or can't be trusted."""
    from engines.data.custom import own_metric

    path = folder / FILE
    try:
        require_own(folder, path)
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != described["sha256"]:
            raise ValueError("it is not what was written")
        function = pickle.loads(content)
    except Exception as error:  # the border: unpickling imports a person's code
        raise HyperionError(
            f"The metric {shown_name(described['name'])} can't be read from {path} "
            f"({one_line(error)}): start the experiment again where it is defined."
        ) from error
    return own_metric(
        described["name"],
        function,
        maximize=described["maximize"],
        task=task,
        classes=classes,
    )


@contextlib.contextmanager
def _by_value(function: Any) -> Iterator[None]:
    """Pickle what a module of the person's own holds, too: workers may not find that module."""
    import cloudpickle

    module = sys.modules.get(getattr(function, "__module__", None) or "")
    own = module is not None and module.__name__ != "__main__" and not _is_installed(module)
    if own:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        if own:
            cloudpickle.unregister_pickle_by_value(module)


def _is_installed(module: types.ModuleType | None) -> bool:
    file = getattr(module, "__file__", None)
    if module is None or module.__name__ == "__main__":
        return False
    return file is None or "site-packages" in Path(file).parts or file.startswith(sys.base_prefix)


def _code_of(function: Any, content: bytes) -> bytes:
    """What a function computes, without where it stands: a notebook's cells change their names."""
    if getattr(function, "__code__", None) is None:
        return content
    return "|".join(_parts(function, set())).encode(errors="replace")


def _parts(function: Any, seen: set[int]) -> Iterator[str]:
    """The code, and what it is given from outside: numbers, text, and functions of the person."""
    seen.add(id(function))
    code = function.__code__
    yield from (_plain(code), repr(function.__defaults__), repr(function.__kwdefaults__))
    outside = {name: function.__globals__.get(name) for name in sorted(_names(code))}
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
    for name, value in [*outside.items(), *((name, cell.cell_contents) for name, cell in cells)]:
        if isinstance(value, types.FunctionType):
            if id(value) not in seen and not _is_installed(sys.modules.get(value.__module__)):
                yield from (name, *_parts(value, seen))
        elif hasattr(value, "__array__"):
            yield f"{name}={hashlib.sha256(pickle.dumps(value, protocol=5)).hexdigest()}"
        elif isinstance(value, bool | int | float | str | bytes | tuple | list | dict):
            yield f"{name}={value!r}"


def _names(code: types.CodeType) -> set[str]:
    inner = (c for c in code.co_consts if isinstance(c, types.CodeType))
    return {*code.co_names}.union(*map(_names, inner))


def _plain(code: types.CodeType) -> str:
    constants = [_plain(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {constants}"
