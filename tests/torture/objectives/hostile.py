"""What objectives of users do to the process they run in; trial N commits act N.

The acts are named in HYPERION_TORTURE_ACTS; trials beyond them are well-behaved.
"""

import atexit
import ctypes
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

MIB = 1024**2
GRANDCHILDREN = 30


def segfault():
    ctypes.string_at(0)


def hang():
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    while True:
        pass


def breed():
    """Children and grandchildren that sleep: some in sessions of their own, one without a name."""
    for number in range(GRANDCHILDREN):
        if os.fork():
            continue
        if number % 2:
            os.setsid()
        if os.fork():
            os._exit(0)  # the grandchild has no parent any more
        if number % 3 == 0:
            os.execve("/bin/sleep", ["sleep", os.environ["HYPERION_TORTURE_SLEEP"]], {})
        time.sleep(3600)
        os._exit(0)
    subprocess.Popen(["sleep", "3600"], start_new_session=True)
    time.sleep(0.3)


def breed_and_hang():
    breed()
    time.sleep(3600)


def gigabyte():
    line = b"\x1b[2J a line that nobody will read " * 32_768
    for turn in range(1024**3 // len(line) + 1):
        os.write(1 + turn % 2, line)


def eat():
    eaten = []
    while True:
        eaten.append(b"x" * (20 * MIB))
        time.sleep(0.02)


def close_standard():
    for descriptor in (0, 1, 2):
        os.close(descriptor)


def close_all():
    os.closerange(3, 4096)


def lose_folder():
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)


def ignore_signals():
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)  # no signal when the parent dies


def delete_logs():
    shutil.rmtree(os.environ["HYPERION_TORTURE_LOGS"])


def forget_environment():
    os.environ.clear()


def no_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def mute_python():
    sys.stdout = sys.stderr = sys.stdin = None


def leave_thread():
    threading.Thread(target=time.sleep, args=(3600,), daemon=False).start()


def hang_at_exit():
    atexit.register(time.sleep, 3600)


def objective(trial):
    x = trial.suggest_float("x", 0.0, 1.0)
    acts = [act for act in os.environ.get("HYPERION_TORTURE_ACTS", "").split(",") if act]
    if not acts and hasattr(objective, "acts"):
        acts = objective.acts  # an earlier act has emptied the environment
    objective.acts = acts
    if trial.number < len(acts):
        globals()[acts[trial.number]]()
    return x
