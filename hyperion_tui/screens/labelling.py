"""Tags and notes on what a screen shows: two small dialogs, and the keys that open them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.text import Text
from textual.widget import Widget
from textual.widgets import Static

from engines.errors import HyperionError
from engines.study import labels
from engines.study.labels import Labels, Subject
from engines.study.location import Location
from hyperion_tui import actions, text
from hyperion_tui.screens.base import Dialog, View
from hyperion_tui.widgets.fields import Entry, Field

_HELP = {
    labels.TAGS: "words with spaces between; `tag:good` in a filter finds them",
    labels.NOTE: "one line, shown beside it; empty removes it",
}
_HELP_SEVERAL = "words to add to all, or -word to remove"


class LabelDialog(Dialog[str]):
    """Tags or a note, to be typed. Dismissed with what to tell once they are written."""

    KEYS = "enter write   ↑ ↓ tags in use   esc cancel"

    def __init__(
        self, kind: str, subjects: Sequence[Subject], before: Labels, in_use: Sequence[str] = ()
    ) -> None:
        what = "Tags" if kind == labels.TAGS else "Note"
        super().__init__(f"{what} of {text.clean(_named(subjects))}")
        self._kind, self._subjects, self._before = kind, subjects, before
        self._in_use = in_use
        self._writing = False
        if kind == labels.NOTE:
            self.KEYS = "enter write   esc cancel"

    def content(self) -> Iterable[Widget]:
        """One field, and a line for help or for what is wrong."""
        about_tags = self._kind == labels.TAGS
        if len(self._subjects) > 1:
            value = ""
        else:
            value = " ".join(self._before.tags if about_tags else self._before.note.split())
        yield Field("Tags" if about_tags else "Note", value, "", id="label")
        yield Static("", id="answer")

    def on_mount(self) -> None:
        entry = self.query_one(Entry)
        if self._kind == labels.TAGS:
            kept = entry.value
            more = [tag for tag in self._in_use if tag not in kept.split()]
            entry.choices = [f"{kept} {tag}".strip() for tag in more]
        entry.focus()
        several = self._kind == labels.TAGS and len(self._subjects) > 1
        self._say(_HELP_SEVERAL if several else _HELP[self._kind])

    def _say(self, told: str, style: str = "dim") -> None:
        self.query_one("#answer", Static).update(Text(text.clean(told), style=style))

    def on_input_submitted(self) -> None:
        if self._writing:
            return
        self._writing = True
        location, typed = self.hyperion.location, self.query_one(Entry).value
        self.hyperion.in_thread(lambda: self._write(location, typed), self._written, self._fail)

    def _write(self, location: Location, typed: str) -> str:
        """Called in a thread: the store may be locked for a while."""
        if self._kind == labels.NOTE:
            found = labels.set_note(location, self._subjects, typed)
            return _told(found, self._kind)
        words = typed.replace(",", " ").split()
        add = [word.removeprefix("+") for word in words if not word.startswith("-")]
        gone = {word[1:] for word in words if word.startswith("-")}
        if len(self._subjects) == 1:
            gone |= set(self._before.tags) - set(add)
        found = labels.change_tags(location, self._subjects, add=add, remove=gone)
        return _told(found, self._kind)

    def _written(self, told: str) -> None:
        if self.is_attached:
            self.dismiss(told)

    def _fail(self, error: BaseException) -> None:
        self._writing = False
        if self.is_attached and isinstance(error, HyperionError):
            self._say(f"✗ {error}", "bold red")
        else:
            self.hyperion.show_error(error)


class LabellingView(View):
    """A view on something that can have tags and a note."""

    BINDINGS = actions.bindings("labels")

    def subjects(self) -> list[Subject]:
        """What tags and notes are for now: what is marked, or is under the cursor."""
        return []

    def labelled(self) -> None:
        """Tags or notes were written: show them."""

    def action_tag(self) -> None:
        """Ask for tags."""
        self._ask_for(labels.TAGS)

    def action_note(self) -> None:
        """Ask for a note."""
        self._ask_for(labels.NOTE)

    def _ask_for(self, kind: str) -> None:
        subjects = self.subjects()
        if not subjects:
            self.say("there is nothing here to write on")
            return
        before = self.labels_of(subjects[0])
        self.app.push_screen(
            LabelDialog(kind, subjects, before, self._in_use()), self._after_writing
        )

    def labels_of(self, subject: Subject) -> Labels:
        """What it has now."""
        held = subject.study or subject.experiment
        return Labels(held.tags, held.note)

    def _in_use(self) -> list[str]:
        everything = self.hyperion.snapshot.experiments
        above = {tag for e in everything for tag in e.tags}
        return sorted(above | {tag for e in everything for s in e.studies for tag in s.tags})

    def _after_writing(self, told: str | None) -> None:
        if told is not None:
            self.labelled()
            self.say(told)


def _named(subjects: Sequence[Subject]) -> str:
    if len(subjects) == 1:
        return subjects[0].name
    return text.plural(len(subjects), "experiment" if subjects[0].study is None else "study")


def _told(found: Mapping[str, Labels], kind: str) -> str:
    name, given = next(iter(found.items()))
    who = name if len(found) == 1 else f"{len(found)} of them"
    if kind == labels.NOTE:
        return f"{who}: {'note written' if given.note else 'no note any more'}"
    if len(found) > 1:
        return f"tags of {who} changed"
    return f"{who}: tags {' '.join(given.tags)}" if given.tags else f"{who}: no tag any more"
