"""`check FILE`: what is wrong with a space, an objective or a metric, before trial 0.

Nothing is run.
"""

from __future__ import annotations

import argparse
from typing import Any

from engines.errors import BadInput, one_line
from engines.files import typed_path
from engines.models import spacefile
from engines.run import metric_file, objective
from engines.study.location import Location
from hyperion_tui import text
from hyperion_tui.output import print_json

WRONG = 2

AS = {
    "objective": "as an objective",
    "metric": "with --metric",
    "space": "with --space",
}
"""How what was looked at is used."""


def check(arguments: argparse.Namespace, _: Location) -> int:
    """Print every problem, or that there is none; 2 if there is one."""
    name = arguments.file
    try:
        if objective.is_objective(name):
            kind, described = _described(name)
            fine = f"`{described['function']}` of {described['file']}"
            problems: list[str] = []
        elif name.endswith(".py"):
            raise BadInput(f"`{name}` is a file: name the function in it too, `{name}:FUNCTION`.")
        else:
            path = typed_path(name)
            kind, fine = "space", f"the space of {path}"
            problems = [str(problem) for problem in spacefile.check(path)]
    except BadInput as error:
        kind, fine, problems = "file", "", [one_line(error)]
    if arguments.json:
        print_json({"file": name, "kind": kind, "ok": not problems, "problems": problems})
    elif problems:
        for problem in problems:
            print(text.clean(problem))
    else:
        print(text.clean(f"{fine} can be used, {AS[kind]}"))
    return WRONG if problems else 0


def _described(name: str) -> tuple[str, dict[str, Any]]:
    """(what it can be used as, what is known of it). Raises BadInput if it is neither."""
    try:
        return "objective", objective.describe(name)
    except BadInput as error:
        try:
            return "metric", metric_file.describe(name)
        except BadInput:
            raise error from None
