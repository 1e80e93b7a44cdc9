"""`check FILE`: what is wrong with a space or an objective, before trial 0. Nothing is run."""

from __future__ import annotations

import argparse
from pathlib import Path

from engines.errors import BadInput, one_line
from engines.models import spacefile
from engines.run import objective
from engines.study.location import Location
from hyperion_tui import text
from hyperion_tui.output import print_json

WRONG = 2


def check(arguments: argparse.Namespace, _: Location) -> int:
    """Print every problem, or that there is none; 2 if there is one."""
    name = arguments.file
    try:
        if objective.is_objective(name):
            described = objective.describe(name)
            kind, fine = "objective", f"`{described['function']}` of {described['file']}"
            problems: list[str] = []
        elif name.endswith(".py"):
            raise BadInput(f"`{name}` is a file: name the function in it too, `{name}:FUNCTION`.")
        else:
            path = Path(name).expanduser().absolute()
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
        print(text.clean(f"{fine} can be used"))
    return WRONG if problems else 0
