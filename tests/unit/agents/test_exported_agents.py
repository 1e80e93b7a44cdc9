"""An agent taken home: it decides as it was judged, and its card says what luck there is in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed")

from engines.data.market import in_spreads, load_market
from engines.errors import BadInput, HyperionError
from engines.export import choice, make
from engines.export.agent import ExportedAgent
from engines.export.agents import export_agent
from engines.export.predictor import Predictor
from engines.face.agents import as_bars, create_trading
from engines.models.rl_agents.policy import AgentPolicy, Card
from engines.run.agents import Agents
from engines.run.context import Context
from engines.run.inline import run_inline
from engines.run.start import Request, create
from engines.study.location import Location
from engines.study.reader import Reader
from hyperion_tui.cli import main
from simulator.bars import load_bars
from simulator.features import BUILT_IN
from simulator.simulator import backtest
from simulator.synthetic import ornstein_uhlenbeck

BARS = 480


class World:
    """A store with one study of an agent that has ended, and the file of its bars."""

    def __init__(self, folder: Path) -> None:
        frame = ornstein_uhlenbeck(BARS + 40, seed=3).to_frame().drop(columns="signal")
        frame.index.name = "date"
        self.longer, self.source = folder / "longer.csv", folder / "market.csv"
        frame.to_csv(self.longer)
        frame[:BARS].to_csv(self.source)
        self.location = Location(folder / "studies.db")
        asked = Request(selectors=("td3",), trials=1, episodes=1, name="e", costs={"fee": 0.002})
        self.id = create(self.location, asked, load_market(str(self.source)))
        run_inline(self.location, self.id).storage.close()

    def export(self, to: Path, **options: Any) -> dict[str, Any]:
        with closing(Reader(self.location)) as reader:
            experiment, study = choice.find(reader, "e/td3")
        context = Context(self.location, self.id, 0)
        defaults: dict[str, Any] = {"force": False, "refit": False, "tell": lambda _: None}
        with closing(context.storage):
            return make.export(context, experiment, study, to, **{**defaults, **options})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="module")
def exported(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("out") / "agent"
    world.export(to)
    return to


@pytest.fixture
def folder(exported: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(exported, tmp_path / "agent"))


def of(folder: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((folder / "card.json").read_text())
    return card


def script(folder: Path, data: Path) -> subprocess.CompletedProcess[str]:
    """What the folder's own script says, in a process that knows nothing of the study."""
    return subprocess.run(
        [sys.executable, "-P", str(folder / "predict.py"), str(data)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def test_another_process_takes_the_positions_that_were_scored(world: World, exported: Path) -> None:
    said = np.array([float(line) for line in script(exported, world.source).stdout.split()])
    longer = ExportedAgent.load(exported).predict_file(world.longer)[0]

    context = Context(world.location, world.id, 0)
    context.storage.close()
    stages, card = Agents(context).stages, of(exported)
    scores = {"validation": card["scores"]["selection"], "test": card["scores"]["held_out_of_this"]}
    for name, market in (("validation", stages.validation), ("test", stages.test)):
        episode = backtest(said[: len(market.bars)], market)
        ratio = episode.metrics["sharpe_ratio"]
        assert ratio == pytest.approx(scores[name], rel=1e-9)
        assert ratio == pytest.approx(card["trading"]["periods"][name]["sharpe_ratio"], rel=1e-9)
    assert len(said) == BARS
    assert np.abs(said[:BARS]).max() > 0
    np.testing.assert_array_equal(longer[:BARS], said)


def test_the_card_has_luck_costs_periods_and_every_baseline(exported: Path) -> None:
    card, text = of(exported), (exported / "CARD.md").read_text()

    told = card["trading"]
    assert card["scores"]["held_out_again"] == card["scores"]["held_out_of_this"]
    assert card["scores"]["held_out"] == sorted(told["held_out_seeds"])[1]
    assert card["scores"]["selection"] == sorted(told["seeds"])[1] == told["seeds"][told["seed"]]
    gap = card["scores"]["selection"] - card["scores"]["held_out"]
    assert abs(card["scores"]["gap"]) == pytest.approx(abs(gap))
    assert set(told["luck"]) == {"dsr_null", "dsr_cross", "trials", "effective_trials", "pbo"}
    assert told["terms"]["fee"] == 0.002
    assert told["rows"]["test"][1] == BARS
    assert told["features"] == list(BUILT_IN)
    names = [baseline["name"] for baseline in card["baselines"]]
    assert names == ["flat", "buy_and_hold", "random", "sign_flipped"]
    for word in ("deflated Sharpe ratio", "largest drawdown", "fee 0.002", "buy\\_and\\_hold"):
        assert word in text
    assert "Versions" in text
    assert card["verdict"].split(":")[0] in text


def test_bars_of_another_market_are_one_account_from_the_first_on(exported: Path) -> None:
    agent = ExportedAgent.load(exported)
    other = replace(ornstein_uhlenbeck(200, seed=9), columns={})

    market = agent.laid_out(other)

    assert np.array_equal(agent.positions(other), agent.policy.positions(market))
    assert agent.about(other) == agent.notices == ()


def test_known_bars_are_told_to_be_no_evidence(world: World, exported: Path) -> None:
    agent = ExportedAgent.load(exported)

    (told,) = agent.about(agent.read(world.longer))

    first = of(exported)["trading"]["rows"]["test"][0]
    assert told.startswith(f"the agent was trained and chosen on rows before row {first}, where")


def test_a_study_that_goes_on_is_exported_without_a_look_at_the_test_period(
    world: World, tmp_path: Path
) -> None:
    with closing(Reader(world.location)) as reader:
        experiment, study = choice.find(reader, "e/td3")
    context = Context(world.location, world.id, 0)
    with closing(context.storage):
        chosen = choice.choose(context, experiment, study)
        chosen = replace(chosen, held_out_score=None, evidence=None)
        options = {"force": False, "refit": False, "tell": print}
        card = export_agent(context, experiment, chosen, "-", tmp_path / "a", **options)

    assert list(card["trading"]["periods"]) == ["validation"]
    assert card["scores"]["held_out_again"] is None
    assert "There is no held-out score for this predictor." in (tmp_path / "a/CARD.md").read_text()


def test_a_refit_is_refused_before_anything_is_written(world: World, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--refit all is not for agents: trained again"):
        world.export(tmp_path / "agent", refit=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_an_agent_that_was_not_kept_is_trained_again_and_decides_the_same(
    tmp_path: Path, exported: Path
) -> None:
    world, said = World(tmp_path), list[str]()
    shutil.rmtree(world.location.artefacts(world.id))

    card = world.export(tmp_path / "again", tell=said.append)

    assert said[0].startswith("training e/td3 trial 0 again: ")
    assert card["trained_again"] == ["e/td3 trial 0"]
    assert (tmp_path / "again/weights.npz").read_bytes() == (exported / "weights.npz").read_bytes()


def test_what_decides_otherwise_when_read_back_is_not_exported(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    along = ExportedAgent.along
    monkeypatch.setattr(ExportedAgent, "along", lambda self, market: along(self, market) + 1e-12)

    with pytest.raises(HyperionError, match="read back, the agent decides otherwise"):
        world.export(tmp_path / "agent")
    assert not list(tmp_path.iterdir())


def test_a_changed_file_and_another_version_are_told(folder: Path) -> None:
    document = json.loads((folder / "predictor.json").read_text())
    document["versions"]["numba"] = "0.1"
    (folder / "predictor.json").write_text(json.dumps(document))

    (notice,) = ExportedAgent.load(folder).notices
    assert notice.startswith("made with numba 0.1, here is ")
    del document["known"]["begins"]
    (folder / "predictor.json").write_text(json.dumps(document))
    with pytest.raises(BadInput, match=r"predictor.json can't be read \(KeyError: 'begins'\)"):
        ExportedAgent.load(folder)
    (folder / "policy.json").write_text("{}")
    with pytest.raises(BadInput, match=r"policy.json is not as it was written"):
        ExportedAgent.load(folder)


def test_models_and_agents_are_not_taken_for_each_other(folder: Path) -> None:
    with pytest.raises(BadInput, match="holds an agent"):
        Predictor.load(folder)
    document = json.loads((folder / "predictor.json").read_text())
    (folder / "predictor.json").write_text(json.dumps({**document, "task": "regression"}))
    with pytest.raises(BadInput, match="holds no agent, but a model"):
        ExportedAgent.load(folder)


def test_the_folder_is_backtested_as_its_policy_is(
    exported: Path, tmp_path: Path, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    AgentPolicy.load(exported).save(kept)
    found = []
    for place in (exported, kept):
        words = ("backtest", str(place), "--data", str(world.source), "--json")
        assert main(words) == 0
        found.append(capsys.readouterr())

    metrics = [json.loads(one.out)["metrics"] for one in found]
    assert metrics[0] == metrics[1]
    assert "was trained and chosen on bars of" in found[0].err


# -- features of one's own -----------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> tuple[Path, pd.DataFrame]:
    """A saved agent that sees two columns of the data, and such data."""
    random, names = np.random.default_rng(0), (*BUILT_IN, "mood", "x_rsi")
    layer = (random.normal(size=(1, len(names) + 2)), random.normal(size=1))
    card = Card("td3", "relu", 1.0, (), None, 1, names)
    place = tmp_path / "agent"
    place.mkdir()
    AgentPolicy(card, {"actor": [tuple(part.astype("f4") for part in layer)]}).save(place)
    frame = ornstein_uhlenbeck(200, seed=1).to_frame().drop(columns="signal")
    frame = frame.assign(mood=random.normal(50, 9, 200), rsi=random.normal(3, 1, 200), more=1.0)
    frame.to_csv(tmp_path / "market.csv", index_label="date")
    return place, frame


def test_an_agent_trained_on_columns_of_one_s_own_is_backtested_on_them(
    own: tuple[Path, pd.DataFrame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, frame = own
    words = ("backtest", str(place), "--data", str(tmp_path / "market.csv"), "--json")

    assert main(words) == 0

    scaled = in_spreads(frame[["mood", "rsi"]])
    columns = {name: scaled[name].to_numpy() for name in ("mood", "x_rsi")}
    bars = load_bars(frame.drop(columns=["mood", "rsi", "more"]))
    from simulator.costs import Costs
    from simulator.market import build_market

    policy = AgentPolicy.load(place)
    market = build_market(
        replace(bars, columns=columns),
        costs=Costs(transaction_cost=0.001),
        features=list(policy.card.feature_names),
    )
    wanted = backtest(policy.positions(market), market).metrics
    found = json.loads(capsys.readouterr().out)["metrics"]
    assert found["num_trades"] == wanted["num_trades"] > 0
    assert found["final_balance"] == pytest.approx(wanted["final_balance"], rel=1e-9)


@pytest.mark.slow
def test_an_agent_of_columns_of_one_s_own_is_exported_and_needs_them_as_they_were_given(
    tmp_path: Path,
) -> None:
    random, location = np.random.default_rng(0), Location(tmp_path / "studies.db")
    X = pd.DataFrame({"mood": random.normal(50, 7, 480), "rsi": random.normal(3, 1, 480)})
    y = random.normal(scale=0.01, size=480)
    asked = Request(selectors=("td3",), trials=1, episodes=1, name="e", task="trading")
    number = create_trading(location, asked, [(X, y)], lambda _: None)
    run_inline(location, number).storage.close()
    as_bars(X, y)[["open", "high", "low", "close"]].join(X).to_csv(tmp_path / "m.csv", index=False)

    with closing(Reader(location)) as reader:
        experiment, study = choice.find(reader, "e/td3")
    context = Context(location, number, 0)
    with closing(context.storage):
        options = {"force": False, "refit": False, "tell": print}
        card = make.export(context, experiment, study, tmp_path / "agent", **options)
    found = ExportedAgent.load(tmp_path / "agent").predict_file(tmp_path / "m.csv")[0]

    test = Agents(context).stages.test
    assert card["trading"]["own_features"] == ["mood", "x_rsi"]
    ratio = backtest(found, test).metrics["sharpe_ratio"]
    assert ratio == pytest.approx(card["scores"]["held_out_of_this"], rel=1e-9)


def test_a_column_that_the_agent_needs_is_named(
    own: tuple[Path, pd.DataFrame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place, frame = own
    frame.drop(columns="mood").to_csv(tmp_path / "less.csv", index_label="date")

    assert main(("backtest", str(place), "--data", str(tmp_path / "less.csv"))) == 2

    assert "no column mood, which the agent was trained on; there are " in capsys.readouterr().err
