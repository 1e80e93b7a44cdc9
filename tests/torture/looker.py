"""A person who looks, as a process to be killed: `python looker.py screen|commands STORE`.

screen: what the app does four times a second, without a terminal. commands: `list`, `show` and
`trials` in turn. It ends when its stdin does; anything else that ends it is an error.
"""

import contextlib
import io
import os
import sys
import threading
import time
from pathlib import Path

from engines.study.location import Location
from hyperion_tui.cli import main
from hyperion_tui.feed import Feed


def screen(location):
    feed = Feed(location)
    while True:
        if feed.due() and (snapshot := feed.read()) is not None:
            if snapshot.problem:
                raise SystemExit(f"the screen says: {snapshot.problem}")
            feed.accept(snapshot)
        time.sleep(0.25)


def commands(location):
    while True:
        for words in (["list"], ["show", "e"], ["trials", "e/*"]):
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main([*words, "--store", str(location.path), "--json"])
            # A glob that means several studies is bad input to `trials`, and says so.
            if code and "studies (" not in err.getvalue():
                raise SystemExit(f"{' '.join(words)} exited with {code}: {err.getvalue()}")
            time.sleep(0.1)


def end_with_parent():
    while os.read(0, 4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_parent, daemon=True).start()
    {"screen": screen, "commands": commands}[sys.argv[1]](Location(Path(sys.argv[2])))
