"""The dialog that writes a CSV file, or takes a model home: what, and where to."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text
from textual.widget import Widget
from textual.widgets import Static

from engines.errors import BadInput, HyperionError
from engines.files import typed_path
from engines.study.location import Location
from hyperion_tui import children, text
from hyperion_tui.screens.base import Dialog
from hyperion_tui.screens.confirm import Confirm
from hyperion_tui.widgets.fields import Choice, Entry, Field


@dataclass(frozen=True, slots=True)
class Scope:
    """Something to write: its label, the command that writes it, and a name for the file.

    option: of the command, for the path; `--to` writes a folder.
    """

    label: str
    words: tuple[str, ...]
    file: str
    option: str = "--csv"

    @classmethod
    def comparison(cls, names: Sequence[str], title: str) -> Scope:
        """The comparison of experiments or studies."""
        several = text.plural(len(names), "study", "studies")
        label = f"comparison of {names[0] if len(names) == 1 else several}"
        return cls(label, ("compare", *names), f"{file_name(title)}-comparison.csv")

    @classmethod
    def trials_of(cls, name: str, label: str) -> Scope:
        """The trials of a study, or of all studies of an experiment."""
        return cls(label, ("trials", name), f"{file_name(name)}-trials.csv")

    @classmethod
    def model_of(cls, name: str) -> Scope:
        """The best model of a study, or an ensemble (`EXPERIMENT/ensemble`), as a folder."""
        label = f"the model of {name}, to predict with"
        return cls(label, ("export", name), f"{file_name(name)}-model", "--to")

    @property
    def is_folder(self) -> bool:
        """Whether it is written as a folder."""
        return self.option == "--to"


def file_name(name: str) -> str:
    """A name for a file that no shell and no file system minds."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "export"


def write(location: Location, scope: Scope, path: Path, *, replace: bool) -> str:
    """Let a command write the file; returns what to tell. Called in a thread."""
    force = ("--force",) if replace else ()
    children.command(location, *scope.words, scope.option, str(path), *force)
    if scope.is_folder:
        return f"python predict.py DATA.csv predicts, in {path}"
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            rows = sum(1 for _ in csv.reader(stream)) - 1
    except OSError as error:
        raise HyperionError(f"{path} was not written: {error.strerror}.") from error
    return f"wrote {path}: {text.plural(max(0, rows), 'row')}"


class ExportDialog(Dialog[None]):
    """What to write and the path, which is checked before anything is overwritten."""

    KEYS = "enter write   tab next   ↑ ↓ choose   esc cancel"

    def __init__(self, scopes: Sequence[Scope]) -> None:
        super().__init__("Export")
        self._scopes = scopes
        self._suggested = scopes[0].file
        self._writing = False

    def content(self) -> Iterable[Widget]:
        """The scopes, the path, and a line for what is wrong."""
        choice = Choice([scope.label for scope in self._scopes], id="scope")
        choice.styles.height = len(self._scopes)
        yield choice
        yield Static("")
        yield Field("Path", self._suggested, "where to write", id="path")
        yield Static("", id="answer")

    def on_mount(self) -> None:
        self.query_one(Choice if len(self._scopes) > 1 else Entry).focus()
        self._say(f"in {text.short_path(Path.cwd())}")

    def _say(self, words: str, style: str = "dim") -> None:
        self.query_one("#answer", Static).update(Text(text.clean(words), style=style))

    def on_choice_changed(self) -> None:
        entry = self.query_one(Entry)
        if entry.value == self._suggested:
            self._suggested = self._scope.file
            entry.value = self._suggested

    @property
    def _scope(self) -> Scope:
        return self._scopes[self.query_one(Choice).chosen]

    def on_choice_submitted(self) -> None:
        self._submit()

    def on_input_submitted(self) -> None:
        self._submit()

    def _submit(self) -> None:
        typed = self.query_one(Entry).value.strip()
        if self._writing or not typed:
            return
        try:
            path = typed_path(typed)
        except BadInput as error:
            self._say(f"✗ {error}", "bold red")
            return
        if path.is_dir() and not self._scope.is_folder:
            self._say(f"✗ {path} is a folder: name a file in it.", "bold red")
        elif path.exists():
            question = (f"{path} exists.", "Write over it?")
            self.app.push_screen(
                Confirm("Overwrite", question, "Overwrite"),
                lambda yes: self._write(path, replace=True) if yes else None,
            )
        else:
            self._write(path)

    def _write(self, path: Path, *, replace: bool = False) -> None:
        self._writing = True
        self._say("writing ...")
        location, scope = self.hyperion.location, self._scope
        self.hyperion.in_thread(
            lambda: write(location, scope, path, replace=replace), self._written, self._fail
        )

    def _written(self, notice: str) -> None:
        if self.is_attached:
            self.dismiss(None)
        self.hyperion.say(notice)

    def _fail(self, error: BaseException) -> None:
        self._writing = False
        if self.is_attached:
            self._say("")
        self.hyperion.show_error(error)
