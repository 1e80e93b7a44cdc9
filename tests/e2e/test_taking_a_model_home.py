"""From a run to a folder that predicts the held-out rows as they were scored, by commands alone."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engines.data.bundled import BUNDLED
from engines.data.datasets import load
from engines.data.splits import split_dataset
from tests.e2e.conftest import World

pytestmark = pytest.mark.e2e


def test_export_and_predict_give_the_score_on_record(world: World, tmp_path: Path) -> None:
    world.hyperion(
        *("run", "lightgbm", "--data", "airfoil", "--name", "air"),
        *("--trials", "1", "--workers", "1"),
    )
    to = tmp_path / "model"
    card = world.hyperion("export", "air/lightgbm", "--to", str(to))

    source = BUNDLED["airfoil"].path
    answer = world.hyperion("predict", str(to), str(source))
    script = subprocess.run(
        [sys.executable, "-P", str(to / "predict.py"), str(source)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )

    data = load("airfoil")
    rows = split_dataset(data, 42).held_out
    said = [answer["predictions"][i] for i in rows]
    wanted = [float(data.y[i]) for i in rows]
    mean = sum(wanted) / len(wanted)
    away = sum((a - b) ** 2 for a, b in zip(said, wanted, strict=True))
    r2 = 1 - away / sum((b - mean) ** 2 for b in wanted)
    assert r2 == pytest.approx(card["scores"]["held_out"], rel=1e-9)
    assert [float(line) for line in script.stdout.split()] == answer["predictions"]
    assert script.stderr.strip() == ""
    rows_there = sum(1 for _ in csv.reader(io.StringIO(source.read_text()))) - 1
    assert len(answer["predictions"]) == rows_there
    assert json.loads((to / "card.json").read_text())["data"]["name"] == "airfoil"
