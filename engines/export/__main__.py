"""`python -m engines.export`: exports and predicts in a process of its own.

The program itself never loads a library of models. What to do comes as one JSON document on
stdin, and one goes back on stdout: `{"result": ...}`, or `{"error": ..., "code": ...}` with what
a person can act on. Progress goes to stderr, in lines that begin as `launch.PROGRESS` has it. The
store is that of the environment.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from engines.errors import HyperionError, one_line
from engines.export.launch import PROGRESS
from engines.study.location import locate


def main() -> int:
    """Do what stdin asks for."""
    request = json.load(sys.stdin)
    # What libraries print must not end up in the document.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    logging.getLogger().setLevel(logging.ERROR)
    answer: dict[str, Any]
    try:
        answer = {"result": _COMMANDS[request["command"]](request)}
    except HyperionError as error:
        answer = {"error": one_line(error, 2000), "code": error.exit_code}
    except MemoryError:
        answer = {"error": "There is not enough memory for it.", "code": 1}
    with out:
        json.dump(answer, out, allow_nan=False)
    return 0


def _export(request: dict[str, Any]) -> dict[str, Any]:
    from engines.export.choice import find
    from engines.export.make import export
    from engines.run.context import Context
    from engines.study.reader import Reader

    location = locate()
    with contextlib.closing(Reader(location)) as reader:
        experiment, study = find(reader, request["name"])
    context = Context(location, experiment.experiment_id, worker_id=0)
    with contextlib.closing(context.storage):
        return export(
            context,
            experiment,
            study,
            Path(request["to"]),
            force=request["force"],
            refit=request["refit"],
            tell=_tell,
        )


def _tell(line: str) -> None:
    sys.stderr.write(f"{PROGRESS}{line}\n")
    sys.stderr.flush()


def _predict(request: dict[str, Any]) -> dict[str, Any]:
    from engines.data.scoring import TRADING
    from engines.export.document import read_document
    from engines.export.predictor import Predictor
    from engines.export.rows import read_new

    if read_document(Path(request["folder"])).get("task") == TRADING:
        return _positions(request)
    predictor = Predictor.load(request["folder"])
    predicted, notices = predictor.predict_table(read_new(Path(request["data"])))
    named = predictor.named(predicted).tolist()
    return {
        "target": predictor.target,
        "classes": list(predictor.classes),
        "predictions": named,
        "horizon": None if predictor.past is None else predictor.past.horizon,
        "probabilities": predicted.tolist() if predictor.classes else None,
        "notices": [*predictor.notices, *notices],
    }


def _positions(request: dict[str, Any]) -> dict[str, Any]:
    from engines.export.agent import ExportedAgent

    agent = ExportedAgent.load(request["folder"])
    bars = agent.read(Path(request["data"]))
    return {
        "target": "position",
        "classes": [],
        "predictions": agent.positions(bars).tolist(),
        "horizon": None,
        "probabilities": None,
        "notices": [*agent.notices, *agent.about(bars)],
    }


_COMMANDS = {"export": _export, "predict": _predict}

if __name__ == "__main__":
    sys.exit(main())
