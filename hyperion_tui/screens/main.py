"""The main screen: the models at the left, the open experiment's results and log at the right."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from textual import events
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from engines.models import catalogue
from engines.run.orders import Target
from engines.study.labels import Subject
from engines.study.records import Experiment, Study
from hyperion_tui import actions, text
from hyperion_tui.messages import Snapshot
from hyperion_tui.screens.asking import AskingView
from hyperion_tui.screens.charts import ChartingView, ChartsScreen
from hyperion_tui.screens.compare import CompareScreen
from hyperion_tui.screens.data import DataScreen, Start
from hyperion_tui.screens.experiments import ExperimentsScreen
from hyperion_tui.screens.export import ExportDialog, Scope
from hyperion_tui.screens.labelling import LabellingView
from hyperion_tui.screens.launch import Draft, LaunchDialog
from hyperion_tui.screens.ordering import OrderingView
from hyperion_tui.screens.trial import TrialScreen
from hyperion_tui.screens.trials import TrialsScreen
from hyperion_tui.screens.workers import WorkersScreen
from hyperion_tui.widgets.charts import Charts
from hyperion_tui.widgets.experiment_header import ExperimentHeader
from hyperion_tui.widgets.lines import LineView
from hyperion_tui.widgets.model_tree import ModelTree, own_objectives
from hyperion_tui.widgets.results_table import ResultsTable
from hyperion_tui.widgets.trial_log import TrialLog

WELCOME = (
    "Nothing has run yet. To begin:",
    "",
    "space  marks a model, or a whole branch",
    "d      chooses data: your files, or sets to try",
    "r      starts what is marked, after some questions",
    "o      other experiments   ?  all keys",
    "q      leaves; what runs goes on",
)
STARTING = ("Nothing has finished yet.",)


class MainScreen(OrderingView, LabellingView, ChartingView, AskingView):
    """Tree, results and log of the open experiment, and charts where there is room."""

    SCOPES = ("panes", "work", "orders", "labels", "tree")
    BINDINGS = actions.bindings("panes", "work")

    def __init__(self, store: str) -> None:
        super().__init__()
        self._store = store
        self._draft = Draft()

    # -- parts -------------------------------------------------------------------------------

    def body(self) -> Iterable[Widget]:
        """Header, then the three panes, and the prompt that hides until it is needed."""
        yield ExperimentHeader(self._store, id="header")
        yield Horizontal(
            ModelTree(catalogue.families(), id="tree"),
            Vertical(ResultsTable(id="results"), TrialLog(id="log"), id="right"),
            Charts(id="charts", number="4 "),
            id="panes",
        )
        yield self.prompt()

    @property
    def models(self) -> ModelTree:
        """The pane of models."""
        return self.query_one(ModelTree)

    @property
    def results(self) -> ResultsTable:
        """The pane of results."""
        return self.query_one(ResultsTable)

    @property
    def log_pane(self) -> TrialLog:
        """The pane of the log."""
        return self.query_one(TrialLog)

    def on_mount(self) -> None:
        self.models.focus()
        self.show_snapshot(self.hyperion.snapshot)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Hand the parts of a snapshot to the panes."""
        experiment = snapshot.current
        self.query_one(ExperimentHeader).show(snapshot)
        self.models.show(experiment, own_objectives(snapshot.experiments))
        self._grey_models(experiment)
        self._explain_emptiness(snapshot)
        self.results.show_experiment(experiment)
        self.log_pane.tag({s.study_id: s.tags for s in experiment.studies} if experiment else {})
        self.log_pane.add(snapshot.current_id, snapshot.events)
        self.chart(self._charted())
        self._tell()
        self.warn(snapshot.problem or "")

    def _grey_models(self, experiment: Experiment | None) -> None:
        """Say in the tree what can't be used: on data that were chosen, or on those in view."""
        look = self._draft.look
        if look is not None and look.data:
            self.models.grey(look.unfit, look.data)
        elif experiment is None or experiment.dataset is None:
            self.models.grey({}, "")
        else:
            unable = {
                name: reason
                for name, spec in catalogue.models().items()
                if experiment.facts
                and (reason := spec.reason_unfit(experiment.task, experiment.facts))
            }
            self.models.grey({**unable, **experiment.left_out}, experiment.dataset.name)

    def _explain_emptiness(self, snapshot: Snapshot) -> None:
        """What the results say where there is no row."""
        if snapshot.problem:
            room = max(20, self.results.size.width - 4)
            self.results.explain_emptiness(text.wrap(text.clean(snapshot.problem), room))
        else:
            self.results.explain_emptiness(STARTING if snapshot.current else WELCOME)

    def _charted(self) -> Target | None:
        """The study whose charts are shown: the one under the cursor, else the best."""
        experiment = self.hyperion.snapshot.current
        if experiment is None:
            return None
        in_tree = self.models.current_study() if self.models.has_focus else None
        study = in_tree or self.results.current_study or next(iter(experiment.ranked), None)
        return None if study is None else (experiment, study)

    # -- what the panes say --------------------------------------------------------------------

    def on_resize(self, _: events.Resize) -> None:
        """The charts may have come into view."""
        self.call_after_refresh(lambda: self.chart(self._charted()))

    def on_line_view_moved(self, message: LineView.Moved) -> None:
        if message.view is not self.focused:
            return
        if message.view is not self.charts:
            self.chart(self._charted())
        self._tell()

    def _tell(self) -> None:
        """A line about what is under the cursor."""
        if self.models.has_focus:
            self.hint(self.models.about_current())
        elif self.results.has_focus:
            self.hint(self.results.about_current())
        elif self.log_pane.has_focus:
            event = self.log_pane.current
            self.hint("" if event is None or self.log_pane.following else event.text)

    def on_line_view_chosen(self, message: LineView.Chosen) -> None:
        if message.view is self.results:
            self._open_trials(self.results.current_study)
        elif message.view is self.models:
            self._open_trials(self.models.current_study())
        elif message.view is self.log_pane:
            self._open_trial()

    def _open_trials(self, study: Study | None) -> None:
        if study is None and self.results.has_focus:
            self.say("an ensemble or a baseline has no trials of its own")
        elif study is None:
            self.say("this has no trials in the open experiment: space marks, r starts")
        else:
            self.app.push_screen(TrialsScreen(study.study_id))

    def _open_trial(self) -> None:
        event = self.log_pane.current
        if event is None or event.study_id is None:
            return
        if event.trial_number is None:
            self.app.push_screen(TrialsScreen(event.study_id))
        else:
            self.app.push_screen(TrialScreen(event.study_id, event.trial_number))

    # -- panes -------------------------------------------------------------------------------

    def action_pane(self, number: int) -> None:
        """Go to a pane; a zoomed one makes room for it."""
        pane = (self.models, self.results, self.log_pane)[number - 1]
        zoomed = self.has_class("-zoom")
        if zoomed:
            self._zoom(pane)
        pane.focus()

    def action_zoom(self) -> None:
        """Give the pane with the focus the whole screen, or put all back."""
        self._zoom(None if self.has_class("-zoom") else self.focused)

    def _zoom(self, pane: Widget | None) -> None:
        self.set_class(pane is not None, "-zoom")
        for part in (self.models, self.results, self.log_pane, self.charts):
            part.set_class(pane is part, "-zoomed")
        self.query_one("#right").set_class(pane in (self.results, self.log_pane), "-zoomed")

    def action_experiments(self) -> None:
        """The list of experiments."""
        self.app.push_screen(ExperimentsScreen())

    def action_workers(self) -> None:
        """What each worker of the open experiment does."""
        self.app.push_screen(WorkersScreen())

    def on_trial_log_filter_asked(self) -> None:
        self._filter(self.log_pane.words, "words, state:failed, model:xgb*", self.log_pane.filter)

    def on_model_tree_filter_asked(self) -> None:
        self._filter(self.models.words, "words, state:running, tag:good", self.models.find)

    def _filter(self, value: str, question: str, then: Callable[[str], None]) -> None:
        self.ask(value, f"{question} ... (enter; empty shows all)", then)

    # -- work --------------------------------------------------------------------------------

    def targets(self) -> tuple[str, list[Target]]:
        """The study under the cursor of the results, or all studies of the experiment."""
        experiment = self.hyperion.snapshot.current
        if experiment is None:
            return "", []
        study = self.results.current_study if self.results.has_focus else None
        if study is not None:
            return study.name, [(experiment, study)]
        return experiment.name, [(experiment, study) for study in experiment.studies]

    def subjects(self) -> list[Subject]:
        """The marked studies, the one under the cursor, or the experiment."""
        experiment = self.hyperion.snapshot.current
        if experiment is None:
            return []
        if self.results.has_focus and (marked := self.results.marked_studies()):
            return [Subject(experiment, study) for study in marked]
        study = self.results.current_study if self.results.has_focus else None
        if self.models.has_focus:
            study = self.models.current_study()
        return [Subject(experiment, study)]

    def action_run(self) -> None:
        """Ask what to start."""
        dialog = LaunchDialog(self.models.selectors(), self._draft)
        self.app.push_screen(dialog, self._started)

    def _started(self, name: str | None) -> None:
        if name is not None:
            self._draft = Draft()
            self.hyperion.open_by_name(name)
        self._grey_models(self.hyperion.snapshot.current)

    def action_data(self) -> None:
        """Choose data, and look at them."""
        self.app.push_screen(DataScreen(self._run_with))

    def _run_with(self, start: Start) -> None:
        """Ask what to start, with data that were chosen."""
        if start.selectors:
            values = start.values
        else:
            about_data = (
                *("data", "target", "time_column", "task"),
                *("horizon", "past_target", "groups"),
            )
            kept = {n: v for n, v in self._draft.values.items() if n not in about_data}
            values = {**kept, **start.values}
        self._draft = Draft(values)
        dialog = LaunchDialog(start.selectors or self.models.selectors(), self._draft)
        self.app.push_screen(dialog, self._started)

    def _compared(self) -> list[int]:
        experiment = self.hyperion.snapshot.current
        studies = self.results.marked_studies() or (experiment.studies if experiment else ())
        return [study.study_id for study in studies]

    def action_charts(self) -> None:
        """The charts of the study under the cursor on a whole screen."""
        target = self._charted()
        if target is None:
            self.say("there is nothing to draw yet")
        else:
            self.app.push_screen(ChartsScreen(target[1].study_id))

    def action_compare(self) -> None:
        """Marked studies side by side, or all of the experiment."""
        ids = self._compared()
        if ids:
            self.app.push_screen(CompareScreen(ids))
        else:
            self.say("there is nothing to compare yet")

    def action_export(self) -> None:
        """Ask what to write, and where."""
        experiment = self.hyperion.snapshot.current
        if experiment is None:
            self.say("there is nothing to export yet")
            return
        scopes = [
            Scope.comparison([experiment.name], experiment.name),
            Scope.trials_of(experiment.name, f"all trials of {experiment.name}"),
        ]
        study = self.results.current_study
        if study is not None:
            scopes.append(Scope.trials_of(study.name, f"trials of {study.name}"))
            if study.best is not None and experiment.dataset is not None:
                scopes.append(Scope.model_of(study.name))
        if experiment.ensemble is not None and experiment.ensemble.members:
            scopes.append(Scope.model_of(f"{experiment.name}/ensemble"))
        self.app.push_screen(ExportDialog(scopes))
