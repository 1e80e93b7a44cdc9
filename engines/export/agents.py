"""From a study of agents to a folder that says which positions to hold.

What is exported is the policy that `backtest` takes: of the best trial, and of its seeds the one
that was the median on the validation period. Before the folder appears it is read back, and must
decide along the validation period, and along the test period if that has been opened, as before.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from engines.analysis.agents import LUCK, of_all
from engines.data.earnings import score_returns
from engines.data.market import bars_of
from engines.errors import BadInput, HyperionError
from engines.export.agent import POLICY_FORMAT, ExportedAgent, Floats, Known
from engines.export.card import Made, card_document
from engines.export.choice import Chosen, member
from engines.export.document import versions_here
from engines.export.folder import new_folder, write_card, write_document, write_script
from engines.models.rl_agents.policy import AgentPolicy
from engines.run.agents import Agents
from engines.run.context import Context
from engines.study.endings import BestTrial
from engines.study.records import Experiment
from simulator.episode import Episode
from simulator.features import BUILT_IN
from simulator.market import Market
from simulator.simulator import backtest

READS = ("hyperion-tui", "numpy", "pandas", "numba")
"""What the positions of an exported agent depend on."""

SHOWN = (
    *("sharpe_ratio", "total_return", "max_drawdown", "num_trades", "turnover", "exposure"),
    "costs_paid",
)


def export_agent(
    context: Context,
    experiment: Experiment,
    chosen: Chosen,
    verdict: str,
    to: Path,
    **options: Any,
) -> dict[str, Any]:
    """Write the best agent of a study to a folder; returns the card. options: see `make.export`.

    Raises BadInput for `refit`, HyperionError if what was written decides otherwise.
    """
    if options["refit"]:
        raise BadInput(
            "--refit all is not for agents: trained again an agent is another one, and no bars "
            "would be left to tell whether it is any good: leave it out."
        )
    assert experiment.dataset is not None
    agents, (_, study, trial) = Agents(context), chosen.weighed[0]
    seed, retrained = int(trial.metrics["median_seed"]), []

    def again(why: str) -> None:
        retrained.append(f"{study} trial {trial.number}")
        options["tell"](f"training {study} trial {trial.number} again: {why}")

    policy = agents.policies(trial, again)[seed]
    assert isinstance(policy, AgentPolicy)
    split = context.data.split
    begins = (int(split.folds[0].valid[0]), int(split.held_out[0]))
    bars = bars_of(context.data, agents.terms.bars_per_year)
    known = Known.of(bars, experiment.dataset.name, begins)
    agent = ExportedAgent(policy, agents.terms, known, experiment.dataset.time_column)
    with new_folder(to, force=options["force"]) as partial:
        policy.save(partial)
        versions = versions_here(*READS)
        write_document(partial, agent.document(versions))
        write_script(partial, "position", "engines.export.agent", "ExportedAgent")
        back = ExportedAgent.load(partial)
        markets = {"validation": agents.stages.validation}
        if chosen.held_out_score is not None:
            markets["test"] = agents.stages.test
        found = back.along(back.laid_out(bars))
        periods = {name: _again(policy, found, market) for name, market in markets.items()}
        told = dict((chosen.evidence.trading if chosen.evidence else None) or {})
        made = Made(
            name=chosen.name,
            selection_score=chosen.selection_score,
            held_out_score=chosen.held_out_score,
            evidence=chosen.evidence,
            openings=chosen.openings,
            members=[member(context, *one) for one in chosen.weighed],
            formats=[POLICY_FORMAT],
            versions=versions,
            how=f"{trial.model}, trial {trial.number}: of its {agents.terms.seeds} seeds the one "
            "that was the median in selection.",
            verdict=verdict,
            retrained=retrained,
            again=_score(agents, periods["test"]) if "test" in periods else None,
            own=told.get("policy_held_out"),
            held_out_is_of=f"the median of {agents.terms.seeds} seeds",
        )
        trading = {
            **_about(agents, trial, policy),
            "held_out_seeds": told.get("held_out_seeds"),
            "periods": {name: _shown(episode) for name, episode in periods.items()},
            "luck": {name: told.get(name) for name in LUCK},
            "luck_of_all": _luck_of_all(experiment, study),
        }
        return write_card(partial, {**card_document(experiment, made), "trading": trading})


def _about(agents: Agents, trial: BestTrial, policy: AgentPolicy) -> dict[str, Any]:
    """What the card says of an agent, whatever it has earned."""
    features = policy.card.feature_names
    return {
        "agent": trial.model,
        "seed": int(trial.metrics["median_seed"]),
        "seeds": trial.metrics.get("seeds"),
        "steps": trial.metrics.get("steps"),
        "max_position": policy.max_position,
        "features": list(features),
        "own_features": [name for name in features if name not in BUILT_IN],
        "terms": agents.terms.describe(),
        "rows": {name: _rows(market) for name, market in _markets(agents).items()},
    }


def _again(policy: AgentPolicy, found: Floats, market: Market) -> Episode:
    """What the folder trades in a period. Raises HyperionError unless the policy did the same."""
    rows, wanted = slice(market.first, market.last), policy.positions(market)
    if not np.array_equal(found[rows], wanted[rows]):
        raise HyperionError("Not exported: read back, the agent decides otherwise than before.")
    return backtest(wanted, market)


def _score(agents: Agents, episode: Episode) -> float:
    return score_returns(agents.metric, episode.returns, agents.terms.bars_per_year)


def _markets(agents: Agents) -> dict[str, Market]:
    stages = agents.stages
    return {"train": stages.train, "validation": stages.validation, "test": stages.test}


def _rows(market: Market) -> list[int]:
    """The first and the last row of a period, counted from 1."""
    return [market.first + 1, market.last + 1]


def _shown(episode: Episode) -> dict[str, Any]:
    return {name: episode.metrics[name] for name in SHOWN}


def _luck_of_all(experiment: Experiment, study: str) -> dict[str, Any] | None:
    """The same with the trials of all studies counted, if this is the best of them."""
    leader = experiment.ranked[0] if experiment.ranked else None
    if leader is None or leader.name != study or len(experiment.studies) == 1:
        return None
    told = of_all(experiment, leader)
    return {name: told.get(name) for name in LUCK} if "trials" in told else None
