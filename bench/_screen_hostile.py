"""Twenty hostile strings in every view: does the app live, and does any byte of theirs get through?

A small synthetic store gets one string at a time wherever data can be: names of the experiment, of
its data, target and baseline, a parameter and its value, errors, tracebacks and lines of the log.
Then every view is opened. Bytes are told apart from the app's own in two ways: no control sequence
of a string may stand in what was sent with the letters behind it, and no kind of sequence may be
there that the same views don't send with a harmless string in the place.
"""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from sqlite3 import Connection
from typing import Any

import _screen
from _cells import Cells, Settings
from _terminal import Terminal

from engines.study.sqlite import connect_to_write, writing

HARMLESS = "harmless"
STRINGS = (
    "\x1b[31mred\x1b[0m",
    "\x1b[2J\x1b[Hcleared",
    "\x1b]0;owned\x07title",
    "\x1b]52;c;b3duZWQ=\x07clipboard",
    "\x1b]8;;http://owned\x1b\\link\x1b]8;;\x1b\\",
    "\x1bPowned\x1b\\device",
    "\x1b[?1049lleft",
    "\x1b[6nasked",
    "\x1bcreset",
    "\x9b31mc1",
    "\x9d0;owned\x9cc1 title",
    "bell\x07back\x08space\x7f",
    "line\r\nfeed\x0b\x0c",
    "tab\tnul\x01",
    "\u202eltr\u202c\u2066iso\u2069",
    "\u200b\u200d\ufeffzero",
    "[red]markup[/red] [/] [",
    "漢字" * 30 + "👩‍👩‍👧e\u0301",
    "'; DROP TABLE hx_trial; -- %s {0} \\",
    "x" * 10_000,
)
VIEWS = {
    "results": "2",
    "trials": "\r",
    "trials, to the right": "lll",
    "trials by another order": "s",
    "one trial": "\r",
    "log": "\x1b\x1b3k",
    "trial of the log": "\r",
    "log, all of the screen": "\x1bz",
    "compare": "zc",
    "compare parameters": "t",
    "experiments": "\x1bo",
    "export": "\x1b2e",
    "charts": "\x1b24",
    "workers": "\x1bw",
    "pause": "\x1bx",
    "launch": "\x1br",
    "help": "\x1b?",
    "palette": "\x1b:",
}
"""Keys that lead from one view to the next, beginning at the main screen."""

SEQUENCE = re.compile(rb"\x1b\[([?<>=]?)[0-9;:]*([ -/]*[@-~])|\x1b([\]PX^_@-Z\\a-z=><0-9()])")
CONTROL = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff][^\x1b]{6,9}"
)
"""A control character with enough behind it not to be one of the app's own sequences."""

BARE = re.compile(rb"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]")


def measure(cells: Cells, size: str) -> dict[str, Any]:
    """All strings in all views, a cell each. crashes, raw: what went wrong, by string."""
    known = cells.take("hostile-none", _harmless, {"size": size})
    crashes, raw = [], []
    for number, string in enumerate(STRINGS):
        settings = {"size": size, "string": string, **known}
        found = cells.take(f"hostile-{number:02d}", _try, settings)
        if found["died"] is not None:
            crashes.append([string[:40], found["died"]])
        if found["foreign"]:
            raw.append([string[:40], found["foreign"]])
    return {"strings": len(STRINGS), "views": len(VIEWS), "crashes": crashes, "raw": raw}


def _harmless(settings: Settings, folder: Path) -> dict[str, Any]:
    died, sent = _look(folder, HARMLESS, settings["size"])
    if died is not None:
        raise SystemExit(f"screen: the app ended in the view `{died}`, with nothing hostile in it")
    kinds = sorted(kind.decode() for kind in _kinds(sent))
    return {"kinds": kinds, "bare": sorted(repr(found) for found in set(BARE.findall(sent)))}


def _try(settings: Settings, folder: Path) -> dict[str, Any]:
    died, sent = _look(folder, settings["string"], settings["size"])
    return {"died": died, "foreign": _foreign(settings, sent)}


def _look(folder: Path, string: str, size: str) -> tuple[str | None, bytes]:
    """(the view in which it died, or None; all that was sent)."""
    store = _screen.build(folder, 3, _screen.MODELS[:2])
    with contextlib.closing(connect_to_write(store)) as connection, writing(connection):
        _poison(connection, string)
    sent, died = b"", None
    with _screen.shown(folder, store, size=size) as terminal:
        sent += terminal.take()
        for view, keys in VIEWS.items():
            if not _open(terminal, keys):
                died = view
                break
            sent += terminal.take()
        sent += terminal.take()
    return died, sent


def _open(terminal: Terminal, keys: str) -> bool:
    for key in keys:
        terminal.send(key)
        # Escape alone is told from the beginning of a sequence by the time behind it.
        if terminal.settle(0.12, terminal.age_s() + 10.0) is None:
            return False
    return True


def _poison(connection: Connection, string: str) -> None:
    """Put a string wherever data can be."""
    said = json.dumps(string)
    for question in (
        "UPDATE hx_experiment SET name = ?",
        "UPDATE hx_dataset SET name = ?, target = ?, path = ?",
        "UPDATE trial_params SET param_name = substr(?, 1, 500) WHERE param_name = 'alpha'",
        "UPDATE hx_trial SET state = 'FAIL', value = NULL, error_class = ?, error_message = ?, "
        "error_traceback = ? WHERE number = 2",
        "UPDATE trials SET state = 'FAIL' WHERE number = 2",
        "UPDATE hx_event SET text = ?",
    ):
        connection.execute(question, (string,) * question.count("?"))
    choices = json.dumps({"name": "CategoricalDistribution", "attributes": {"choices": [string]}})
    connection.execute(
        "UPDATE trial_params SET distribution_json = ?, param_value = 0 WHERE param_name = 'kind'",
        (choices,),
    )
    connection.execute(
        "INSERT INTO hx_baseline (experiment_id, name, selection_score) VALUES (1, ?, 0.1)",
        (string[:500],),
    )
    connection.execute("UPDATE hx_dataset SET notices = ?", (f"[{said}]",))


def _kinds(sent: bytes) -> set[bytes]:
    return {b"".join(match) for match in SEQUENCE.findall(sent)}


def _foreign(settings: Settings, sent: bytes) -> list[str]:
    """What of a string stands in what was sent, and bytes that nothing harmless sends."""
    parts = CONTROL.findall(settings["string"])
    found = [repr(part) for part in parts if part.encode() in sent]
    found += [repr(kind) for kind in _kinds(sent) if kind.decode() not in settings["kinds"]]
    bare = {repr(match) for match in BARE.findall(sent)}
    return found + sorted(bare - set(settings["bare"]))
