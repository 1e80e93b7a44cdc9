"""What workers are told, noted outside the store by the workers themselves.

This folder is put on PYTHONPATH, so Python imports the module at the start of every process of
a torture world. In a worker it adds a line to a file of its own after each event; the store is
compared with these lines afterwards. Nothing that the worker does is changed.

acknowledged: the store accepted the end of a trial: its call has returned. Fsynced.
params: a trial of a declared model got its parameters. (An objective notes its own.)
died: the interpreter ended by an exception.
"""

import importlib.machinery
import json
import os
import sys
import time

RECORD = os.environ.get("HYPERION_TORTURE_RECORD")
_files = {}


def note(what, *, sync=False, **facts):
    """Append one line to this process's file, in one write."""
    pid = os.getpid()
    if pid not in _files:
        # A forked copy gets a file of its own.
        path = os.path.join(RECORD, f"{pid}-{time.monotonic_ns()}.jsonl")
        _files[pid] = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    at = {"at": time.monotonic_ns(), "clock": time.time(), "pid": pid}
    os.write(_files[pid], (json.dumps({"what": what, **at, **facts}) + "\n").encode())
    if sync:
        os.fsync(_files[pid])


def _watch_ends(module):
    storage = module.HyperionStorage
    original = storage.end_trial

    def end_trial(self, trial_id, state, values, ending):
        original(self, trial_id, state, values, ending)
        told = None if values is None else [float(value) for value in values]
        note("acknowledged", sync=True, trial=trial_id, state=state.name, values=told)

    storage.end_trial = end_trial


def _watch_params(module):
    original = module.Space.suggest

    def suggest(self, trial):
        params = original(self, trial)
        note("params", trial=trial._trial_id, number=trial.number, params=params)
        return params

    module.Space.suggest = suggest


WATCHED = {"engines.study.storage": _watch_ends, "engines.search.space": _watch_params}


class _Finder:
    """Lets the usual finder find our modules, and looks at them once they are there."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in WATCHED:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            WATCHED[name](module)

        spec.loader.exec_module = exec_module
        return spec


def _watch():
    usual = sys.excepthook

    def died(kind, error, trace):
        note("died", error=f"{kind.__name__}: {error}")
        usual(kind, error, trace)

    sys.excepthook = died
    sys.meta_path.insert(0, _Finder)


if RECORD and "engines.run.worker" in sys.orig_argv:
    _watch()
