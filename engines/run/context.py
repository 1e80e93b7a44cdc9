"""What a worker loads of its experiment, each thing when it is first needed."""

from __future__ import annotations

import contextlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from engines.data.scoring import Metric, find_metrics
from engines.data.snapshot import Snapshot, read_snapshot
from engines.errors import StoreUnavailable
from engines.models import catalogue
from engines.models.spec import Form
from engines.run.artefacts import Artefacts
from engines.run.metric_file import load_copy
from engines.run.metric_package import load_installed
from engines.run.own_metric import load_metric
from engines.study.database import PATIENCE_S
from engines.study.location import Location
from engines.study.plain import connect_to_read
from engines.study.storage import HyperionStorage
from engines.study.store import open_storage
from engines.study.tables import ExperimentRow

if TYPE_CHECKING:
    from engines.models.fit import Trainer


class Context:
    """One experiment as a process that works on it sees it. Its fixed part never changes."""

    def __init__(self, location: Location, experiment_id: int, worker_id: int) -> None:
        self.location = location
        self.experiment_id = experiment_id
        self.worker_id = worker_id
        # A store that is gone must not be made anew: there would be nothing to do in it.
        with contextlib.closing(connect_to_read(location)):
            self.storage: HyperionStorage = open_storage(location)
        self.storage.database.read_patience_s = PATIENCE_S
        question = select(ExperimentRow.__table__).where(ExperimentRow.id == experiment_id)
        experiment = self.storage.database.read(lambda c: c.execute(question).first())
        if experiment is None:  # the store was replaced between our start and now
            raise StoreUnavailable(
                f"{location.shown} has no experiment {experiment_id}: it was deleted, or the store "
                "was replaced while it was in use."
            )
        self.experiment: Any = experiment

    @cached_property
    def data(self) -> Snapshot:
        """The experiment's rows and split."""
        return read_snapshot(self.location.data(self.experiment_id))

    @cached_property
    def metric(self) -> Metric:
        """The scorer of the experiment."""
        own = (self.experiment.facts or {}).get("own_metric")
        if own is not None:
            if "package" in own:
                return load_installed(own, self.data.task, self.data.classes)
            folder = self.location.data(self.experiment_id)
            load = load_copy if "source" in own else load_metric
            return load(folder, own, self.data.task, self.data.classes)
        return self.metrics[0]

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """All metrics of an experiment without one of the user's own; most often one."""
        return find_metrics(self.experiment.metric)

    @property
    def has_several(self) -> bool:
        """Whether trials are judged by several metrics."""
        return "," in self.experiment.metric

    @property
    def device(self) -> str | None:
        """Where networks train, `cpu` or `cuda`; None: on a GPU where there is one."""
        found: str | None = (self.experiment.facts or {}).get("device")
        return found

    @cached_property
    def trainer(self) -> Trainer:
        """What fits models. scikit-learn comes with it: 1 s and 140 MiB, only for real models."""
        from engines.models.fit import Trainer

        return Trainer(self.data, self.metric, self.device)

    @cached_property
    def artefacts(self) -> Artefacts:
        """What the best trials left behind."""
        return Artefacts(self.location, self.experiment_id)

    @property
    def maximize(self) -> bool:
        """Whether larger scores are better."""
        return bool(self.experiment.direction == "maximize")

    def form(self, model: str) -> Form:
        """How a model does the task of this experiment."""
        past = (self.experiment.split or {}).get("past_target", False)
        return catalogue.find(model).form(self.experiment.task, past=past)
