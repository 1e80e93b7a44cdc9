"""Starting `engines.export` in a process of its own: light, for whoever must load no library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

from engines.errors import (
    BadInput,
    HyperionError,
    NotComparable,
    PackageMissing,
    StoreUnavailable,
    one_line,
)
from engines.run.hands import ONE_THREAD
from engines.study.location import STORE_VARIABLE, Location

PROGRESS = "hyperion: "
"""How a line on stderr begins that is meant for people; all else there is a library's."""

_ERRORS: dict[int, type[HyperionError]] = {
    kind.exit_code: kind
    for kind in (HyperionError, BadInput, PackageMissing, StoreUnavailable, NotComparable)
}


def ask(location: Location, request: dict[str, Any], tell: Callable[[str], None]) -> Any:
    """The result of a request, see `engines.export.__main__`.

    tell: takes lines of progress as they come. Raises the HyperionError that came instead, or one
    with the last words of a process that ended without an answer.
    """
    environment = {
        **os.environ,
        **dict.fromkeys(ONE_THREAD, "1"),
        STORE_VARIABLE: location.option,
    }
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "engines.export"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=environment,
    )
    answers: list[str] = []
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        taking = threading.Thread(target=_take, args=(process.stdout, answers), daemon=True)
        taking.start()
        process.stdin.write(json.dumps(request))
        process.stdin.close()
        last = "no reason known"
        for line in process.stderr:
            if line.startswith(PROGRESS):
                tell(line.removeprefix(PROGRESS).rstrip())
            last = line.strip() or last
        taking.join()
    try:
        answer = json.loads(answers[0])
    except ValueError:
        raise HyperionError(
            f"{request['command']} ended early (exit code {process.returncode}): {one_line(last)}"
        ) from None
    if "error" in answer:
        raise _ERRORS.get(answer["code"], HyperionError)(answer["error"])
    return answer["result"]


def _take(stream: Any, into: list[str]) -> None:
    into.append(stream.read())
