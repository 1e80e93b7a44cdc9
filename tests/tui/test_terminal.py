"""On a real terminal: nothing is sent while nothing happens, and it is given back in order."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.tui.stores import Store, add_typical
from tests.tui.terminal import Terminal

MAIN_SCREEN_LEFT = b"\x1b[?1049l"
CURSOR_SHOWN = b"\x1b[?25h"


slow = functools.partial(pytest.param, marks=pytest.mark.slow)


@contextlib.contextmanager
def started(store: Store, **how: Any) -> Iterator[Terminal]:
    terminal = Terminal(store.location.path, **how)
    try:
        terminal.read_until(b"lightgbm")
        terminal.read(1.0)
        yield terminal
    finally:
        terminal.close()


def test_an_idle_screen_sends_nothing(store: Store):
    add_typical(store)

    with started(store) as terminal:
        assert terminal.read(quiet_s=3.0) == b""
        terminal.send("r")
        terminal.read_until(b"bundled: ")
        terminal.read(1.0)
        assert terminal.read(quiet_s=2.0) == b""


def test_moving_paging_and_news_send_little(store: Store):
    experiment, ids = add_typical(store)

    with started(store, width=80, height=24) as terminal:
        terminal.send("2")
        assert len(terminal.read()) <= 4000
        terminal.send("\x1b[B")
        assert len(terminal.read()) <= 1000
        with store.together():
            store.trial(ids[0], 12, 0.72)
            store.event(experiment, "trial_complete", "0.72 (1.0 s)", ids[0], 12)
        news = terminal.read(1.0)
        assert b"12" in news
        assert len(news) <= 3000


def test_what_the_terminal_lost_comes_back_by_a_key(store: Store):
    add_typical(store)

    with started(store, width=80, height=24) as terminal:
        terminal.send("\x0c")
        again = terminal.read()

    assert b"lightgbm" in again
    assert b"2 Results" in again


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_in_order(store: Store, number: signal.Signals):
    add_typical(store)

    with started(store) as terminal:
        terminal.kill(number)
        last = terminal.read()

        assert terminal.wait() == 128 + number
        assert MAIN_SCREEN_LEFT in last
        assert CURSOR_SHOWN in last


def test_a_line_that_drops_ends_it_in_order(store: Store):
    add_typical(store)

    with started(store, width=80, height=24) as terminal:
        terminal.hang_up()

        assert terminal.wait() == 128 + signal.SIGHUP


def test_leaving_gives_the_terminal_back_and_says_what_goes_on(store: Store):
    add_typical(store, paused=False)

    with started(store, width=80, height=24) as terminal:
        terminal.send("q")
        last = terminal.read()

        assert terminal.wait() == 0
        assert MAIN_SCREEN_LEFT in last
        assert b"demo goes on without the screen" in last


def test_hostile_text_reaches_no_terminal(store: Store):
    experiment, ids = add_typical(store)
    nasty = "\x1b]0;owned\x07\x1b[2J\u202e"
    store.failed(ids[0], 12, nasty, params={"alpha": 1.0})
    store.event(experiment, "trial_failed", f"failed: {nasty}", ids[0], 12)

    terminal = Terminal(store.location.path)
    try:
        seen = terminal.read_until(b"ridge#12") + terminal.read(1.0)
        terminal.send("3k")
        seen += terminal.read() + b""
        terminal.send("\r")
        seen += terminal.read()
    finally:
        terminal.close()
    assert b"owned" in seen
    assert b"\x1b]0;owned" not in seen
    assert "\u202e".encode() not in seen


STUCK = """
import threading
from textual.drivers._writer_thread import WriterThread
WriterThread.stop = lambda self: threading.Event().wait()
"""
"""As on a terminal that is gone: what waits until its output is taken never ends."""


def test_a_terminal_that_takes_no_output_holds_nobody_back(store: Store):
    add_typical(store)

    with started(store, before=STUCK) as terminal:
        terminal.kill(signal.SIGHUP)

        assert terminal.wait() == -signal.SIGALRM


def test_ctrl_z_gives_the_terminal_back_and_fg_draws_all_again(store: Store):
    add_typical(store)

    with started(store, width=80, height=24) as terminal:
        terminal.send("\x1a")
        last = terminal.read_until(MAIN_SCREEN_LEFT) + terminal.read()
        _, status = os.waitpid(terminal.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert CURSOR_SHOWN in last

        terminal.kill(signal.SIGCONT)
        again = terminal.read_until(b"lightgbm") + terminal.read(1.0)
        assert b"\x1b[?1049h" in again
        terminal.send("q")
        terminal.read()
        assert terminal.wait() == 0


def test_a_terminal_that_changes_its_size_is_filled_again(store: Store):
    add_typical(store)

    with started(store, width=80, height=24) as terminal:
        terminal.resize(50, 15)
        terminal.read_until(b"needs 60x20, this is 50x15")
        terminal.resize(120, 40)
        terminal.read_until(b"lightgbm")


def test_lines_that_a_lower_terminal_dropped_are_sent_again(store: Store):
    add_typical(store)

    with started(store, width=120, height=40) as terminal:
        terminal.resize(120, 24)
        terminal.read()
        terminal.resize(120, 40)
        painted = {int(line) for line in re.findall(rb"\x1b\[(\d+);\d+H", terminal.read())}
    assert painted >= {*range(1, 41)}


@pytest.mark.parametrize(
    ("environment", "wanted", "unwanted"),
    [
        slow({"TERM": "xterm", "COLORTERM": ""}, rb"\x1b\[[0-9;]*3[0-7]", rb"[34]8;[25];"),
        slow({"TERM": "screen-256color", "COLORTERM": ""}, rb"38;5;", rb"[34]8;2;"),
        slow({"COLORTERM": "truecolor"}, rb"[34]8;[25];", rb"(?!)"),
        ({"NO_COLOR": "1"}, rb"lightgbm", rb"[34]8;[25];"),
        ({"LC_ALL": "C"}, rb"2 Results", rb"[^\x00-\x7f]"),
    ],
    ids=["16", "256", "millions", "none", "ascii"],
)
def test_no_more_colours_and_signs_are_sent_than_the_terminal_knows(
    store: Store, environment: dict[str, str], wanted: bytes, unwanted: bytes
):
    add_typical(store)

    terminal = Terminal(store.location.path, 80, 24, environment=environment)
    try:
        seen = terminal.read_until(b"lightgbm") + terminal.read(1.0)
    finally:
        terminal.close()
    assert re.search(wanted, seen)
    assert not re.search(unwanted, seen)
