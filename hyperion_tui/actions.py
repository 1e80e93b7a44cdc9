"""Every key of the program, once: bindings, hint lines, help and the palette are made from this.

An action is a method `action_<name>` of the screen, widget or app that its scope names.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.binding import BindingType

SCOPES: dict[str, str] = {
    "app": "Everywhere",
    "panes": "Main screen",
    "orders": "Orders to studies",
    "work": "Start, compare, export",
    "labels": "Tags and notes",
    "list": "Moving in a list",
    "tree": "Models",
    "table": "Tables",
    "marks": "Marking rows",
    "log": "Log",
    "back": "Screens above the main one",
    "experiments": "List of experiments",
    "trash": "Trash",
    "compared": "Comparison",
    "trials": "Trials of a study",
    "trial": "One trial",
    "ticks": "Choosing columns",
    "charts": "Charts",
    "data": "Data",
}
"""The scopes in the order of the help screen, with its headings; behind `back` one a screen."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that a key does.

    key: as Textual writes it, several with commas. label: one or two words for the hint line.
    hint: its place in the hint line, from the left; 0 leaves it out.
    """

    name: str
    key: str
    label: str
    description: str
    scope: str
    hint: int = 0

    @property
    def keys(self) -> str:
        """The keys as a person reads them."""
        return " ".join(self.keys_shown)

    @property
    def keys_shown(self) -> list[str]:
        """Each of them."""
        keys = _chosen.get(self.name, self.key)
        return [_READABLE.get(key, key) for key in keys.split(",")]


_READABLE = {"pagedown": "page down", "pageup": "page up", "comma": ","}

_chosen: dict[str, str] = {}
"""Keys that the person has chosen, by the name of an action."""

ACTIONS: tuple[Action, ...] = (
    Action("help", "?", "help", "this list of keys", "app", 98),
    Action("palette", ":,ctrl+p", "cmds", "find a command by its name and run it", "app", 97),
    Action("theme", "T", "theme", "next of the four colour themes", "app"),
    Action("leave", "q,ctrl+q", "leave", "leave; studies go on without the screen", "app", 99),
    Action("leave_and_stop", "Q", "stop all", "stop every running study, then leave", "app"),
    #
    Action("pane(1)", "1", "models", "go to the tree of models", "panes"),
    Action("pane(2)", "2", "results", "go to the results", "panes"),
    Action("pane(3)", "3", "log", "go to the log", "panes"),
    Action("zoom", "z", "zoom", "give the pane the whole screen, and back", "panes"),
    Action("workers", "w", "workers", "what each worker runs, and what it uses", "panes"),
    Action("experiments", "o", "open", "list of experiments", "panes", 40),
    #
    Action("run", "r", "run", "start an experiment with the marked models", "work", 10),
    Action("charts", "4", "charts", "history and importance of parameters of a study", "work", 68),
    Action("compare", "c", "compare", "marked studies side by side, or all", "work", 50),
    Action("export", "e", "export", "write a table as CSV, or take a model home", "work", 60),
    Action("data", "d", "data", "choose data, and look at them before a start", "work", 45),
    #
    Action("pause", "p", "pause", "finish what runs, then pause; again: interrupt", "orders", 20),
    Action("freeze_trials", "F", "freeze", "stop processes where they are; u goes on", "orders"),
    Action("resume", "u", "resume", "go on", "orders", 30),
    Action("stop", "x", "stop", "finish what runs, then end for good", "orders", 65),
    Action("cancel", "K", "cancel", "end for good at once", "orders"),
    #
    Action("tag", "t", "tag", "put tags on it; `tag:good` finds them", "labels", 90),
    Action("note", "a", "note", "write a note on it", "labels", 91),
    #
    Action("move(-1)", "up,k", "up", "one line up", "list"),
    Action("move(1)", "down,j", "down", "one line down", "list"),
    Action("page(-1)", "pageup", "page up", "one page up", "list"),
    Action("page(1)", "pagedown", "page down", "one page down", "list"),
    Action("edge(-1)", "home,g", "top", "to the first line", "list"),
    Action("edge(1)", "end,G", "end", "to the last line", "list"),
    Action("choose", "enter", "open", "open what is under the cursor", "list"),
    #
    Action("mark", "space", "mark", "mark a model, or a whole branch", "tree"),
    Action("filter", "/", "find", "show models whose name or use contains a text", "tree", 66),
    Action("fold(False)", "right,l", "unfold", "unfold a branch", "tree"),
    Action("fold(True)", "left,h", "fold", "fold a branch", "tree"),
    #
    Action("sort", "s", "sort", "sort by the next column", "table", 70),
    Action("reverse", "S", "reverse", "turn the order round", "table"),
    Action("shift(1)", "right,l", "right", "show columns further to the right", "table"),
    Action("shift(-1)", "left,h", "left", "show columns further to the left", "table"),
    #
    Action("mark", "space", "mark", "mark a row, to compare it", "marks"),
    #
    Action("follow", "f", "follow", "stay at the newest line, or not", "log"),
    Action("freeze", "space", "freeze", "hold the log still, or let it go on", "log"),
    Action("filter", "/", "filter", "show lines that contain a text", "log"),
    Action("match(1)", "n", "next", "next line that matches the filter", "log"),
    Action("match(-1)", "N", "previous", "previous line that matches the filter", "log"),
    Action("error", "E", "next error", "next failed trial", "log"),
    #
    Action("back", "escape", "back", "back to the screen below", "back", 1),
    #
    Action("compare", "c", "compare", "marked experiments, study by study", "experiments", 50),
    Action("filter", "/", "filter", "show what matches: state:done tag:good", "experiments", 65),
    Action("delete", "D", "delete", "put experiments into the trash", "experiments", 66),
    Action("undo", "U", "undo", "bring back what was deleted last", "experiments", 67),
    Action("trash", "B", "trash", "what was deleted: restore or purge it", "experiments", 68),
    #
    Action("restore", "U", "restore", "bring it back, as it was", "trash", 5),
    Action("purge", "P", "purge", "remove it for good, after a question", "trash", 6),
    #
    Action("export", "e", "export", "write the comparison to a CSV file", "compared", 60),
    Action("turn", "t", "turn", "scores of all, or studies with parameters", "compared", 61),
    Action("changed", "d", "differences", "parameters that differ, or all", "compared", 62),
    #
    Action("charts", "4", "charts", "history and importance of parameters", "trials", 70),
    Action("states", "f", "states", "show trials of one state only", "trials", 71),
    Action("filter", "/", "filter", "show what matches: state:failed tag:odd", "trials", 73),
    Action("columns", "v", "columns", "choose which columns are shown", "trials", 74),
    #
    Action("tick", "space", "tick", "show a column, or hide it", "ticks"),
    Action("tick_all", "A", "all", "all columns, or none", "ticks"),
    #
    Action("export", "e", "export", "write the trials, or take the model home", "trials", 72),
    #
    Action("next(1)", "n", "next", "charts of the next study", "charts", 5),
    Action("next(-1)", "N", "previous", "charts of the study before", "charts", 6),
    Action("copy", "y", "copy", "copy the charts as words and numbers", "charts", 7),
    #
    Action("use", "r", "use", "start an experiment with these data", "data", 5),
    Action("swap", "c", "change", "the open experiment's models on these data, anew", "data", 6),
    Action("type_path", "/", "path", "go to a folder, or a file, by its path", "data", 7),
    Action("up_folder", "backspace", "folder above", "list the folder above", "data"),
    #
    Action("retry", "R", "retry", "queue a failed trial again as a new one", "trial", 5),
    Action("copy", "y", "copy", "copy the trial to the clipboard of the terminal", "trial", 6),
)


def of(*scopes: str) -> list[Action]:
    """The actions of some scopes, in the order of the registry."""
    return [action for action in ACTIONS if action.scope in scopes]


def bindings(*scopes: str) -> list[BindingType]:
    """The key bindings of some scopes. An action's name is their id: see `use`."""
    from textual.binding import Binding  # settings are read without the library of screens

    return [
        Binding(action.key, action.name, action.description, show=False, id=action.name)
        for action in of(*scopes)
    ]


def hints(scopes: Iterable[str]) -> list[Action]:
    """What the hint line of a screen shows, from left to right."""
    return sorted((a for a in of("app", *scopes) if a.hint), key=lambda a: a.hint)


def help_sections(here: Collection[str] = ()) -> list[tuple[str, list[Action]]]:
    """Headings and actions of the help screen: a screen's own first, then others that hold here."""
    places = list(SCOPES)
    own = places[places.index("back") + 1 :]
    scopes = sorted(SCOPES, key=lambda scope: (scope not in here, scope not in own))
    return [(SCOPES[scope], of(scope)) for scope in scopes if of(scope)]


# -- keys of the person's own -------------------------------------------------------------------

TOGETHER: tuple[tuple[str, ...], ...] = (
    *(("app", "panes", "work", "orders", "labels", "list", part) for part in ("tree", "log")),
    ("app", "panes", "work", "orders", "labels", "list", "table", "marks"),
    ("app", "back", "orders", "labels", "experiments", "list", "table", "marks"),
    ("app", "back", "orders", "labels", "trials", "list", "table"),
    ("app", "back", "trash", "list", "table", "marks"),
    ("app", "back", "compared", "list", "table"),
    ("app", "back", "labels", "trial", "list", "table"),
    ("app", "back", "charts", "list"),
    ("app", "back", "data", "list", "table"),
    ("app", "back", "list", "table"),
    ("app", "list", "ticks"),
)
"""Scopes whose keys hold at the same time."""

_NAMED_KEYS = {
    *("enter", "space", "tab", "escape", "up", "down", "left", "right", "home", "end"),
    *("pageup", "pagedown", "insert", "delete", "backspace", *(f"f{n}" for n in range(1, 13))),
}


def use(keys: Mapping[str, str]) -> None:
    """Show these keys, by the name of an action, instead of those of the registry."""
    _chosen.clear()
    _chosen.update(keys)


def named(name: str) -> list[Action]:
    """The actions of a name: one, or one in each of several scopes."""
    return [action for action in ACTIONS if action.name == name]


def key_of(name: str) -> str:
    """The first key of an action, as a person reads it."""
    return named(name)[0].keys.split(" ")[0]


def why_no_key(keys: str) -> str | None:
    """Why a text names no keys, several with commas; None if it does."""
    for key in keys.split(","):
        if key == "ctrl+c":
            return "ctrl+c leaves the app, always"
        letter = len(key) == 1 and key.isprintable() and not key.isspace()
        if not (letter or key in _NAMED_KEYS or re.fullmatch(r"ctrl\+[a-z]", key)):
            return f"`{key[:20]}` is no key: give a sign such as P, a name such as f5, or ctrl+p"
    return None


def clash(keys: Mapping[str, str]) -> str | None:
    """What two actions with one key these keys would lead to, or None."""
    for scopes in TOGETHER:
        taken: dict[str, str] = {}
        for action in of(*scopes):
            for key in keys.get(action.name, action.key).split(","):
                other = taken.setdefault(key, action.name)
                if other != action.name and {other, action.name} & keys.keys():
                    return f"`{key}` would be both {other} and {action.name}"
    return None
