"""What outlives a runner for a moment: the end of everything that it and its workers started.

Workers die with their runner, because they ask the kernel for it; what an objective has started
does not ask. A guardian is the runner's parent and adopts the orphans of orphans, so that when the
runner is gone, however it went, everything that is left below the guardian is what has to go.
It is this file alone, run by a bare interpreter, and waits: 0 % of a core.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time

PR_SET_CHILD_SUBREAPER = 36


def become(runner: int) -> None:
    """Turn this process into the guardian of its child `runner`; does not return."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    words = [sys.executable, "-I", "-S", os.path.abspath(__file__), str(runner)]
    os.execv(sys.executable, words)


def guard(runner: int) -> int:
    """Wait for the runner's end, end what it left behind, and return its exit code."""
    # Whoever means to end the experiment's processes may have found this one.
    signal.signal(signal.SIGTERM, lambda *_: _send(runner, signal.SIGTERM))
    code = 0
    while True:
        ended, status = os.waitpid(-1, 0)
        if ended == runner:
            code = os.waitstatus_to_exitcode(status)
            break
    deadline = time.monotonic() + 10.0  # what the kernel itself can't end now is left to it
    while (left := _descendants(os.getpid())) and time.monotonic() < deadline:
        for pid in left:
            _send(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass
        time.sleep(0.005)
    return code if code >= 0 else 128 - code


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _descendants(pid: int) -> list[int]:
    found = [pid]
    for member in found:
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{member}/task"):
                with (
                    contextlib.suppress(OSError),
                    open(f"/proc/{member}/task/{thread}/children") as file,
                ):
                    found.extend(map(int, file.read().split()))
    return found[1:]


if __name__ == "__main__":
    sys.exit(guard(int(sys.argv[1])))
