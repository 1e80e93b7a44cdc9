"""Objectives of the user's own: `file.py:function` or `module:function`.

Such code runs in workers only. Before that it is read, not run: its syntax and the function's
name are checked, and its hash becomes part of the experiment's identity.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engines.errors import BadInput, one_line
from engines.files import typed_path
from engines.models.catalogue import nearest

FAMILY = "custom"


def is_objective(word: str) -> bool:
    """Whether a selector names code: it has a colon, which no model's name has."""
    return ":" in word


TRIAL = (1, "one argument, the trial")
Y_TRUE_Y_PRED = (2, "two arguments, the true values and the predicted ones")


def describe(reference: str, takes: tuple[int, str] = TRIAL) -> dict[str, Any]:
    """What is stored about an objective: where it is, what it is called, its hash.

    takes: how many arguments its caller has, and which. Raises BadInput if there is no such file,
    module or function, or its syntax is wrong.
    """
    source, _, function = reference.rpartition(":")
    if not source or not function.isidentifier():
        raise BadInput(f"`{reference}` is not `file.py:function` or `module:function`.")
    path = _file_of(source, reference)
    try:
        content = path.read_bytes()
        tree = ast.parse(content, filename=str(path))
    except OSError as error:
        raise BadInput(f"{path} can't be read: {error.strerror}.") from error
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise BadInput(f"{path}, line {line}: {one_line(error)}; mend it first.") from error
    names = _defined_names(tree)
    if function not in names:
        raise BadInput(f"{path} defines no `{function}`{nearest(function, names) or '.'}")
    _check_takes(tree, path, function, *takes)
    return {
        "reference": reference,
        "file": str(path),
        "path": str(path) if source.endswith(".py") else None,
        "module": None if source.endswith(".py") else source,
        "function": function,
        "sha256": hashlib.sha256(content).hexdigest(),
        "folder": os.getcwd(),
    }


def _file_of(source: str, reference: str) -> Path:
    if source.endswith(".py"):
        path = typed_path(source)
        if not path.is_file():
            raise BadInput(f"`{reference}`: no file {path} (looked in {os.getcwd()}).")
        return path
    parts = source.split(".")
    if not all(part.isidentifier() for part in parts):
        raise BadInput(f"`{reference}` is not `file.py:function` or `module:function`.")
    # find_spec would import the parents of a dotted name: walk the path by hand instead.
    for root in [os.getcwd(), *sys.path]:
        stem = Path(root or ".").joinpath(*parts)
        for candidate in (stem.with_suffix(".py"), stem / "__init__.py"):
            if candidate.is_file():
                return candidate.absolute()
    raise BadInput(f"`{reference}`: no module `{source}` here or in this Python.")


def _check_takes(tree: ast.Module, path: Path, function: str, count: int, which: str) -> None:
    """Raise BadInput for a function that can't be called with `count` arguments and nothing else.

    What is imported, assigned or decorated can't be judged without running it.
    """
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    found = [n for n in tree.body if isinstance(n, kinds) and n.name == function]
    if not found or found[-1].decorator_list:
        return
    last, where = found[-1], f"{path}, line {found[-1].lineno}: `{function}`"
    if isinstance(last, ast.AsyncFunctionDef):
        raise BadInput(f"{where} is async: make it a plain def.")
    takes = last.args
    places = len(takes.posonlyargs) + len(takes.args)
    needed = places - len(takes.defaults)
    named = [a for a, d in zip(takes.kwonlyargs, takes.kw_defaults, strict=True) if d is None]
    if needed > count or named or (places < count and takes.vararg is None):
        raise BadInput(f"{where} must take {which}; it takes ({ast.unparse(takes)}).")


def _defined_names(tree: ast.Module) -> list[str]:
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names += [alias.asname or alias.name for alias in node.names]
    return names


def difference(described: dict[str, Any]) -> str | None:
    """What has happened to an objective's file since the experiment began, or None."""
    path = Path(described["file"])
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"{path} can't be read any more ({error.strerror})"
    if hashlib.sha256(content).hexdigest() != described["sha256"]:
        return f"{path} has changed since this experiment began: run it under another --name"
    return None


def load(described: dict[str, Any]) -> Callable[[Any], Any]:
    """Import the objective, in a worker. Its own folder comes last on the path, ours first.

    Raises whatever the user's code raises, and BadInput if its file is gone or has changed:
    trials of two programs must not stand in one table.
    """
    if (changed := difference(described)) is not None:
        raise BadInput(changed)
    folder = described["folder"]
    if os.path.isdir(folder):
        os.chdir(folder)
        sys.path.append(folder)
    if described["module"] is not None:
        module = importlib.import_module(described["module"])
    else:
        path = Path(described["path"])
        sys.path.append(str(path.parent))
        spec = importlib.util.spec_from_file_location(f"hyperion_objective_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    return getattr(module, described["function"])
