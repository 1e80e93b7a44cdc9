"""A metric of one's own in a file: read where it is named, run where scores are computed."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.data.frames import from_arrays
from engines.errors import BadInput, HyperionError, NotComparable
from engines.run import metric_file
from engines.run.context import Context
from engines.run.inline import run_inline
from engines.run.start import Request, create
from engines.study.location import Location
from engines.study.reader import Reader
from engines.study.records import Experiment
from hyperion_tui import cli

WORST = """from helping import largest

def worst(y_true, y_pred):
    return -largest(abs(y_true - y_pred))
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "helping.py").write_text("largest = max")
    path = tmp_path / "mine.py"
    path.write_text(WORST)
    return path


def rows() -> Any:
    random = np.random.default_rng(0)
    X = random.normal(size=(60, 2))
    return from_arrays(X, X[:, 0] + random.normal(scale=0.1, size=60))


def ran(location: Location, path: Path, function: str = "worst", name: str = "e") -> Experiment:
    request = Request(("ridge",), trials=1, metric=f"{path}:{function}", name=name)
    experiment_id = create(location, request, rows())
    run_inline(location, experiment_id).storage.close()
    with contextlib.closing(Reader(location)) as reader:
        return reader.experiment(experiment_id)


def test_a_metric_in_a_file_scores_trials_baselines_and_what_is_held_out(
    location: Location, mine: Path
) -> None:
    experiment = ran(location, mine)

    assert experiment.metric.startswith("worst@")
    assert experiment.maximize
    (study,) = experiment.studies
    assert study.best is not None
    mean = next(b for b in experiment.baselines if b.name == "mean")
    assert mean.selection_score is not None
    assert mean.selection_score < study.best.selection_score < 0
    assert study.best.held_out_score is not None


def test_it_is_not_run_where_an_experiment_is_created(location: Location, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def f(y_true, y_pred): pass\nraise SystemExit('was run')")

    create(location, Request(("ridge",), trials=1, metric=f"{path}:f"), rows())


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit(3)\ndef f(a, b): pass", "f: SystemExit: 3"),
        ("import no_such_module\ndef f(a, b): pass", "f: ModuleNotFoundError"),
        ("def f(a, b): return {}['x']", "f: KeyError"),
        ("def f(a, b): return float('nan')", "nan"),
    ],
)
def test_what_it_raises_fails_the_trial_and_no_worker(
    code: str, reason: str, location: Location, tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(code)

    (study,) = ran(location, path, "f").studies

    assert (study.counts.failed, study.best) == (1, None)
    assert study.message is not None
    assert reason in study.message


def test_a_study_goes_on_by_the_copy_and_another_content_is_another_metric(
    location: Location, mine: Path
) -> None:
    experiment = ran(location, mine)
    mine.write_text(WORST + "# changed")
    context = Context(location, experiment.experiment_id, 0)
    assert context.metric.score([1.0, 2.0], [1.0, 4.0]) == -2.0
    context.storage.close()

    with pytest.raises(NotComparable):
        ran(location, mine)

    copy = location.data(experiment.experiment_id) / "metric.py"
    copy.write_text("def worst(y_true, y_pred): return 0.0")
    context = Context(location, experiment.experiment_id, 0)
    with pytest.raises(HyperionError, match="worst can't be read from .* under another name"):
        _ = context.metric
    context.storage.close()


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def f(y): pass", "two arguments, the true values and the predicted ones; it takes .y."),
        ("def f(a, b, c): pass", "it takes .a, b, c."),
        ("def g(a, b): pass", "defines no `f`"),
    ],
)
def test_what_can_not_be_a_metric_is_refused_without_being_run(
    code: str, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"{code}\nraise SystemExit('was run')")
    with pytest.raises(BadInput, match=told):
        metric_file.metric_file(f"{path}:f")


def test_check_looks_at_metrics_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def f(a, b): pass\ndef g(a, b, c): pass\nraise SystemExit('was run')")

    assert cli.main(["check", f"{path}:f"]) == 0
    assert "can be used, with --metric" in capsys.readouterr().out
    assert cli.main(["check", f"{path}:g"]) == 2
