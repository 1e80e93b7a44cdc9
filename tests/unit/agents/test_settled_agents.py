"""The end of a study of agents: what is kept, and that it can be made again."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest

pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed")


from engines.data.market import load_market
from engines.errors import BadInput
from engines.models.rl_agents.policy import AgentPolicy
from engines.run.agents import Agents, seed_folder
from engines.run.inline import run_inline
from engines.run.start import Request, create
from engines.study.endings import best_trials
from engines.study.location import Location
from engines.study.reader import Reader
from engines.study.store import open_storage
from simulator.synthetic import ornstein_uhlenbeck

FRAME = ornstein_uhlenbeck(520, seed=3).to_frame().drop(columns="signal")


def request(**changes) -> Request:
    about = {"selectors": ("td3",), "trials": 1, "episodes": 1, "name": "e", **changes}
    return Request(**about)


@pytest.mark.slow
def test_policies_that_were_not_kept_are_trained_again_to_the_same_scores(tmp_path: Path) -> None:
    location = Location(tmp_path / "studies.db")
    create(location, request(), load_market(FRAME, name="market"))
    context = run_inline(location, 1)
    with contextlib.closing(Reader(location)) as reader:
        study = reader.experiment(1).studies[0]
    agents = Agents(context)
    storage = open_storage(location)
    best = best_trials(storage, study.study_id)[0]
    storage.close()
    folder = context.artefacts.folder(study.study_id, best.number)
    assert sorted(p.name for p in folder.iterdir() if p.is_dir()) == ["seed-0", "seed-1", "seed-2"]
    chosen = seed_folder(folder, best.metrics["median_seed"])
    assert AgentPolicy.load(chosen).card.agent == "td3"
    assert study.best is not None

    shutil.rmtree(folder)
    again, evidence = agents.judge(best)

    assert again == study.best.held_out_score
    assert study.evidence is not None
    assert evidence["trading"]["held_out_seeds"] == study.evidence.trading["held_out_seeds"]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pruner": "racing"}, "--pruner racing compares folds"),
        ({"target": "close"}, "--target is not for agents"),
        ({"metric": "r2"}, "--metric r2 can't score trading"),
        ({"selectors": ("ridge", "sac"), "task": "trading"}, "ridge can't be used here"),
        (
            {"selectors": ("ridge", "sac"), "data": "diabetes"},
            "sac can't be used here: trades bars, in an experiment of its own",
        ),
        ({"selectors": ("sac",), "data": "diabetes"}, "no column open, high, low, close"),
        ({"selectors": ("sac",)}, "Agents trade bars: name a CSV"),
    ],
)
def test_what_agents_can_t_do_is_refused_in_one_line_and_nothing_is_written(
    tmp_path: Path, changes: dict, reason: str
) -> None:
    location = Location(tmp_path / "studies.db")
    given = None if "data" in changes or "selectors" in changes else load_market(FRAME)
    if changes.get("task"):
        given = load_market(FRAME)

    with pytest.raises(BadInput, match=reason) as error:
        create(location, request(**changes), given)

    assert "\n" not in str(error.value)
    assert not location.path.exists()
