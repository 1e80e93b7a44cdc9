"""The tree of models: what there is, what can be used, what is marked, how each one stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from textual.message import Message

from engines.models.spec import ModelSpec
from engines.run.objective import FAMILY as CUSTOM
from engines.study.records import Experiment, Study
from hyperion_tui import actions, text, words
from hyperion_tui.query import Query, parse
from hyperion_tui.widgets.lines import LineView, Piece

_UNFIT = "–"
_BOXES = {None: "-", True: "x", False: " "}


class ModelTree(LineView):
    """Families with their models. Marks are what the next experiment is made of.

    Greyed: what is not installed, and what can't be used on the data in view, each with its
    reason when the cursor is on it. The latter can be marked all the same: the next experiment
    may have other data.

    Until a family is folded by hand, all are unfolded if there is room for that; if not, the
    smaller ones are, and of the others those models are shown that the open experiment has.
    """

    BINDINGS = actions.bindings("tree")

    class FilterAsked(Message):
        """A text to find models by is wanted."""

    class MarksChanged(Message):
        """Other models are marked now."""

    def __init__(
        self, families: Mapping[str, Sequence[ModelSpec]], *, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self.families = dict(families)
        self._declared = families
        self._own: Mapping[str, str] = {}
        self._told: Mapping[str, str] = {}
        self.marked: set[str] = set()
        # Asked once: looking for a package on the disk takes its time.
        self.reasons = {s.name: s.reason_missing for specs in families.values() for s in specs}
        self.words = ""
        self._folds: dict[str, bool] = {}
        self._unfolded_before: set[str] = set()
        self._query = Query()
        self._studies: dict[str, Study] = {}
        self._unfit: Mapping[str, str] = {}
        self._data = ""
        self._lines: list[str | ModelSpec] = []
        self._list_lines()

    # -- content -----------------------------------------------------------------------------

    def show(self, experiment: Experiment | None, own: Mapping[str, str] | None = None) -> None:
        """Put the studies of an experiment beside their models.

        own: what `run` is told to search an objective of one's own, by its name.
        """
        if own is not None and own != self._told:
            self._know(own)
        studies = {s.model: s for s in experiment.studies} if experiment else {}
        before, self._studies = self._studies, studies
        changed = {m for m in {*before, *studies} if _seen(before.get(m)) != _seen(studies.get(m))}
        moving = self._query.states or self._query.tags
        if before.keys() != studies.keys() or (changed and moving):
            self._list_again()
        # Beside the same lines there may be other studies now.
        self._repaint_models(changed)

    def _know(self, own: Mapping[str, str]) -> None:
        """List these objectives as a branch of their own, behind the models."""
        models = {spec.name for specs in self._declared.values() for spec in specs}
        self._told = own
        self._own = {name: selector for name, selector in own.items() if name not in models}
        specs = [
            ModelSpec(name, CUSTOM, f"your own objective, {selector}", {}, package="optuna")
            for name, selector in sorted(self._own.items())
        ]
        self.families = {**self._declared, **({CUSTOM: specs} if specs else {})}
        self.reasons.update(dict.fromkeys(self._own))
        self._list_again()

    def on_resize(self) -> None:
        """Other families may have room now."""
        self._list_again()

    def _list_again(self) -> None:
        """List the lines anew; the cursor stays with its line, or goes to that of the family."""
        current, before = self.current, self._lines
        self._list_lines()
        if self._lines != before:
            self.repaint_all()
        family = current.family if isinstance(current, ModelSpec) else current
        known = next((line for line in (current, family) if line in self._lines), None)
        self.move_to(0 if known is None else self._lines.index(known))

    def grey(self, unfit: Mapping[str, str], data: str) -> None:
        """Grey the models that can't be used on some data. unfit: reasons, by model."""
        if (unfit, data) != (self._unfit, self._data):
            changed = {*self._unfit, *unfit}
            self._unfit, self._data = unfit, data
            self._repaint_models(changed)
            self.post_message(self.Moved(self))

    def find(self, words: str) -> None:
        """Show models that match a query, see `hyperion_tui.query`; all for an empty text."""
        current = self.current
        self.words = words.strip()
        self._query = parse(words)
        self._list_lines()
        if not self.words and isinstance(current, ModelSpec) and current not in self._lines:
            # What was found and chosen stays in sight.
            self._fold(current.family, closed=False)
        self.repaint_all()
        first = next((i for i, line in enumerate(self._lines) if isinstance(line, ModelSpec)), 0)
        kept = current in self._lines and (not self.words or isinstance(current, ModelSpec))
        self.move_to(self._lines.index(current) if kept and current is not None else first)

    def _repaint_models(self, changed: set[str]) -> None:
        for index, line in enumerate(self._lines):
            if isinstance(line, ModelSpec) and line.name in changed:
                self.repaint(index)

    @property
    def current(self) -> str | ModelSpec | None:
        """The family (a word) or the model under the cursor."""
        return self._lines[self.cursor] if self.cursor < len(self._lines) else None

    def current_study(self) -> Study | None:
        """The study of the model under the cursor in the open experiment."""
        line = self.current
        return self._studies.get(line.name) if isinstance(line, ModelSpec) else None

    def selectors(self) -> list[str]:
        """What to run: the marked models, a family's name where all of it is marked, or else
        what is under the cursor."""
        if not self.marked:
            line = self.current
            if line == CUSTOM:
                return [self._selector(spec) for spec in self.families[CUSTOM]]
            return [] if line is None else [line if isinstance(line, str) else self._selector(line)]
        words: list[str] = []
        for family in self.families:
            if self._state(family) is True and family != CUSTOM:
                words.append(family)
            else:
                marked = [s for s in self.families[family] if s.name in self.marked]
                words += map(self._selector, marked)
        return words

    def _selector(self, spec: ModelSpec) -> str:
        """What `run` calls it."""
        return self._own[spec.name] if spec.family == CUSTOM else spec.name

    def about_current(self) -> str:
        """A sentence about what is under the cursor."""
        line = self.current
        if line is None:
            return ""
        if isinstance(line, str):
            usable, total = self._usable(line), len(self.families[line])
            unfit = sum(spec.name in self._unfit for spec in usable)
            out = f", {unfit} of them not on {self._data}" if unfit else ""
            return f"{line}: {len(usable)} of {total} models can run here{out}"
        reason = self.reasons[line.name]
        if reason:
            return f"{line.name} {reason}"
        if line.name in self._unfit:
            return f"{line.name}, not on {self._data}: {self._unfit[line.name]}"
        study = self._studies.get(line.name)
        known = f"  ({_done(study)} trials, {study.state})" if study else ""
        written = words.labels(study.tags, study.note) if study else ""
        return f"{line.name}: {written}{'; ' if written else ''}{line.summary}{known}"

    # -- drawing -----------------------------------------------------------------------------

    def line_count(self) -> int:
        """Families, and the models of those that are unfolded."""
        return len(self._lines)

    def line(self, index: int, width: int) -> Iterable[Piece]:
        """A family with its availability, or a model with its study."""
        line = self._lines[index]
        if isinstance(line, str):
            return self._family_line(line, width)
        return self._model_line(line, width)

    def _family_line(self, family: str, width: int) -> Iterable[Piece]:
        usable, total = len(self._usable(family)), len(self.families[family])
        fold = "▾" if family in self._unfolded() else "▸"
        state = self._state(family)
        tail = f"{usable}/{total}"
        return (
            (f"{fold} ", "dim"),
            (f"[{_BOXES[state]}] ", "accent" if state is not False else "dim"),
            (text.fit(family, width - 7 - len(tail)), "strong"),
            (f" {tail}", "dim" if usable == total else "warn"),
        )

    def _model_line(self, spec: ModelSpec, width: int) -> Iterable[Piece]:
        usable = self.reasons[spec.name] is None
        marked = spec.name in self.marked
        box = " x " if marked else "   "
        pieces: list[Piece] = [(box, "accent" if marked else "dim")]
        study = self._studies.get(spec.name)
        if study is None:
            fits = spec.name not in self._unfit
            tail = "missing" if not usable else "" if fits else _UNFIT
            style = "" if usable and fits else "dim"
            pieces.append((text.fit(spec.name, width - 4 - len(tail)), style))
            return [*pieces, (f" {tail}", "dim")]
        glyph, style = text.STATES[study.state]
        best = study.best.selection_score if study.best else None
        score = f" {text.number(best):>7}"
        done = f" {_done(study):>7}" if width >= 32 else ""
        room = width - 3 - 2
        if room - len(done) - len(score) < min(len(spec.name), 15):
            # The name comes first: the score is in the results as well.
            done = score = ""
        name = text.fit(spec.name, room - len(done) - len(score))
        return [*pieces, (name, ""), (f" {glyph}", style), (done, "dim"), (score, "")]

    def moved(self) -> None:
        """Say in the border how many models are marked, and which are to be seen."""
        marked = f"{len(self.marked)} marked" if self.marked else ""
        found = f"/{text.fit(self.words, 8).rstrip()}" if self.words else self.position()
        self.title(f"1 Models  {found}", marked)

    # -- keys --------------------------------------------------------------------------------

    def action_mark(self) -> None:
        """Mark a model; on a family: all that can run, or none if they are marked already."""
        line = self.current
        if isinstance(line, str):
            found = {s.name for s in self._found(line)}
            names = {s.name for s in self._usable(line) if s.name in found}
            if names <= self.marked:
                self.marked -= names
            else:
                self.marked |= names
            self.repaint_all()
        elif line is not None and self.reasons[line.name] is None:
            self.marked ^= {line.name}
            family = self._lines.index(line.family)
            self.repaint(self.cursor, family)
        self.moved()
        self.post_message(self.MarksChanged())
        if isinstance(line, ModelSpec):
            self.action_move(1)

    def action_filter(self) -> None:
        """Ask for a text to find models by."""
        self.post_message(self.FilterAsked())

    def action_fold(self, closed: bool) -> None:
        """Fold or unfold the family of what is under the cursor."""
        line = self.current
        if line is None or self.words:
            return
        family = line if isinstance(line, str) else line.family
        by_hand = family in self._folds
        if closed != (family in self._unfolded()) and (by_hand or not closed):
            return
        self._fold(family, closed=closed)
        self.repaint_all()
        self.move_to(self._lines.index(family))

    def _fold(self, family: str, *, closed: bool) -> None:
        """From now on the person decides; the other families stay as they are."""
        if not self._folds:
            self._unfolded_before = self._unfolded()
        self._folds[family] = closed
        self._list_lines()

    def action_choose(self) -> None:
        """Enter folds a family; of a model with a study it opens the trials."""
        line = self.current
        if isinstance(line, str):
            self.action_fold(line in self._unfolded())
        else:
            super().action_choose()

    # -- helpers -----------------------------------------------------------------------------

    def _list_lines(self) -> None:
        self._lines = []
        unfolded = self._unfolded()
        for family in self.families:
            found = self._found(family)
            if self.words and not found:
                continue
            self._lines.append(family)
            if self.words or family in unfolded:
                self._lines += found
            elif family not in self._folds:
                self._lines += [spec for spec in found if spec.name in self._studies]

    def _unfolded(self) -> set[str]:
        """The families of which all models are listed."""
        if self._folds:
            before = self._unfolded_before
            return {f for f in self.families if not self._folds.get(f, f not in before)}
        # What must be seen anyway: the families, and the models of the experiment.
        room = max(1, self.window) - len(self.families) - len(self._studies)
        chosen = set()
        for family, specs in sorted(self.families.items(), key=lambda pair: len(pair[1])):
            more = sum(spec.name not in self._studies for spec in specs)
            if more > room:
                break
            room -= more
            chosen.add(family)
        return chosen

    def _found(self, family: str) -> list[ModelSpec]:
        """The models of a family that match what is looked for."""
        return [spec for spec in self.families[family] if self._is_asked_for(spec)]

    def _is_asked_for(self, spec: ModelSpec) -> bool:
        study = self._studies.get(spec.name)
        state, tags = (study.state, study.tags) if study else ("", ())
        return self._query.matches(state, spec.name, lambda: f"{spec.name} {spec.summary}", tags)

    def _usable(self, family: str) -> list[ModelSpec]:
        return [s for s in self.families[family] if self.reasons[s.name] is None]

    def _state(self, family: str) -> bool | None:
        """All that can run is marked (True), none (False), or some (None)."""
        names = {s.name for s in self._usable(family)}
        if not names or not names & self.marked:
            return False
        return True if names <= self.marked else None


def _done(study: Study) -> str:
    goal = study.counts.goal
    return f"{study.counts.finished}/{goal}" if goal is not None else f"{study.counts.finished}"


def _seen(study: Study | None) -> object:
    """What of a study is visible in the tree."""
    return None if study is None else (study.state, _done(study), study.best, study.tags)


def own_objectives(experiments: Iterable[Experiment]) -> dict[str, str]:
    """What `run` is told to search each objective of one's own again, by its name; newest first."""
    found: dict[str, str] = {}
    for experiment in experiments:
        about = experiment.objective
        if about is None:
            continue
        source = about.get("path") or about.get("module")
        selector = f"{source}:{about.get('function')}"
        # What has spaces or commas can't stand among other words.
        if source and not any(sign.isspace() or sign == "," for sign in selector):
            for study in experiment.studies:
                found.setdefault(study.model, selector)
    return found
