"""Pinning a study: the question, asked of a process of its own (`engines.run.paired`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from engines.analysis.compare import Group, Key, Lead, Pinned
from engines.errors import HyperionError, one_line
from engines.study.location import STORE_VARIABLE, Location


def pin(location: Location, group: Group, name: str, key: Key) -> Pinned:
    """What everything in a group scores on the held-out rows against the one of that key.

    name: as it is shown. Raises HyperionError where it can't be told, with the reason.
    """
    question = {"studies": [study.study_id for _, study in group.rows], "key": list(key)}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "engines.run.paired"],
        input=json.dumps(question),
        env={**os.environ, STORE_VARIABLE: location.option},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason known"])[-1]
        raise HyperionError(f"Nothing can be held against {name}: {one_line(reason)}")
    leads: dict[Key, Lead] = {}
    for kind, which, *numbers in json.loads(done.stdout):
        leads[(kind, which)] = Lead(*numbers)
    return Pinned(name, key, leads)
