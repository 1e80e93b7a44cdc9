"""Whole studies of trading agents, as `hyperion-tui run` makes them, on markets of known worth.

  tuned    the Sharpe ratio on the test period of the chosen trial and of the declared defaults, on
           markets that swing round their mean (Ornstein-Uhlenbeck, 10 bp), by agent and seed.
  stock    the same of the defaults of the libraries and the paper, as who does not tune has them:
           `STOCK`. Learns from what was done alone, without augmented replay.
  null     markets of pure noise: how often the best trial passes a deflated Sharpe ratio of 0.95,
           and what the verdict says. Each study has one agent, in turns.
  planted  the same on markets that swing round their mean, where there is something to find.
  workers  trials an hour with one worker and with two; the machine needs two idle cores.

The profile: nets of 64 x 64 at most, batches of 64, 10 trials of 3 seeds, 2,000 steps each, on
10,000 bars, of which some 2,000 validate: on 700 of them the best of 10 trials would need a Sharpe
ratio of 2 to pass. One JSON a cell under bench/results/agents, and a cell that is there is not
measured again unless its settings or the code have changed, bench/_cells.py; with `--kept` not
even then: a cell takes a minute.

python bench/_agents_studies.py [PART...] [--agents NAME...] [--seeds N...] [--fresh | --kept]
                                [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import _cells
import _common

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engines.analysis.report import verdict
from engines.data.market import load_market
from engines.models import catalogue
from engines.models.spec import ModelSpec
from engines.run.agents import Agents
from engines.run.context import Context
from engines.run.inline import run_inline
from engines.run.launcher import start_runner
from engines.run.start import Request, create
from engines.search.space import Choice, Space
from engines.study.endings import trial_of
from engines.study.location import Location
from engines.study.reader import Reader
from engines.study.records import Experiment
from engines.study.states import FINAL
from engines.study.store import open_storage
from simulator.bars import Bars
from simulator.synthetic import ornstein_uhlenbeck, pure_noise

ROOT = Path(__file__).resolve().parents[1]
KEPT = ROOT / "bench" / "results" / "agents"
AGENTS = ("td3", "sac", "rainbow_dqn")
PARTS = {
    "tuned": range(5),
    "stock": range(5),
    "null": range(40),
    "planted": range(10),
    "workers": range(1),
}
TRIALS, STEPS, BARS = 10, 2_000, 10_000
SKILL = 0.95
SMALL: dict[str, tuple[Any, ...]] = {
    "hidden_dims": ("[64, 64]",),
    "actor_hidden": ("[64, 64]",),
    "critic_hidden": ("[64, 64]",),
    "hidden_size": (64,),
    "num_layers": (2,),
    "batch_size": (64,),
}
"""What the profile allows of the declared spaces."""

_SAME = {"gamma": 0.99, "batch_size": 64, "learning_starts": 128, "buffer_size": 50_000}
STOCK: dict[str, dict[str, Any]] = {
    "td3": {
        **_SAME,
        **{"actor_hidden": "[64, 64]", "critic_hidden": "[64, 64]", "learning_rate": 1e-3},
        **{"tau": 0.005, "policy_noise": 0.2, "noise_clip": 0.5, "policy_delay": 2},
        **{"exploration_noise": 0.1, "action_noise": 0.1, "max_action": 1.0},
        **{"train_freq": 8, "gradient_steps": 8},
    },
    "sac": {
        **_SAME,
        **{"hidden_dims": "[64, 64]", "activation": "relu", "learning_rate": 3e-4, "tau": 0.005},
        **{"alpha": 1.0, "alpha_tuned": True, "risk_factor": 0.0, "reward_scaling": 1.0},
        **{"exploration_noise": 0.0, "train_freq": 8, "gradient_steps": 8},
    },
    "rainbow_dqn": {
        **_SAME,
        **{"hidden_size": 64, "num_layers": 2, "learning_rate": 6.25e-5, "double_dqn": True},
        **{"dueling": True, "noisy": True, "prioritised": True, "n_steps": 3, "num_atoms": 51},
        **{"v_min": -10.0, "v_max": 10.0, "target_update_interval": 1024},
        **{"train_freq": 8, "gradient_steps": 2},
    },
}
"""TD3 and SAC as stable-baselines3 2.9 has them, with the noise of the TD3 paper; Rainbow as Hessel
et al. (2018), table 1; but for the profile's nets and batches, and a start and a target update that
fit 2,000 steps."""


def small(spec: ModelSpec) -> ModelSpec:
    """The agent with the spaces of the profile."""
    form = spec.forms["trading"]
    space = Space(
        {
            name: Choice(SMALL[name]) if name in SMALL else parameter
            for name, parameter in form.space.parameters.items()
        }
    )
    sets = [
        {name: SMALL[name][0] if name in SMALL else value for name, value in params.items()}
        for params in (form.defaults, *form.portfolio)
    ]
    made = replace(form, space=space, defaults=sets[0], portfolio=tuple(sets[1:]))
    return replace(spec, forms={"trading": made})


def untuned(spec: ModelSpec) -> ModelSpec:
    """The agent with nothing to choose: every trial is `STOCK`."""
    form = spec.forms["trading"]
    params = STOCK[spec.name]
    made = replace(
        form,
        space=Space({name: Choice((value,)) for name, value in params.items()}),
        defaults=params,
        portfolio=(),
        fixed={**form.fixed, "augmented": False},
    )
    return replace(spec, forms={"trading": made})


def created(
    folder: Path,
    bars: Bars,
    agents: Sequence[str],
    workers: int,
    seed: int,
    trials: int = TRIALS,
    profile: Callable[[ModelSpec], ModelSpec] = small,
) -> Location:
    """A store with one experiment of these agents, which nobody runs yet."""
    location = Location(folder / "studies.db")
    frame = bars.to_frame()[["open", "high", "low", "close", "volume"]]
    specs = [profile(catalogue.find(name)) for name in agents]
    request = Request(
        selectors=tuple(agents),
        task="trading",
        trials=trials,
        workers=workers,
        seed=seed,
        name="e",
    )
    with (
        mock.patch.object(catalogue, "select", return_value=specs),
        mock.patch("engines.run.bars.steps_of", return_value=STEPS),
    ):
        create(location, request, load_market(frame, name="market"))
    return location


@contextlib.contextmanager
def experiment_of(location: Location) -> Iterator[tuple[Reader, Experiment]]:
    """The experiment as it stands."""
    with contextlib.closing(Reader(location)) as reader:
        yield reader, reader.experiment(1)


def tuned(cell: Any, folder: Path) -> dict[str, Any]:
    """The chosen trial and the defaults on the test period of one market."""
    bars = ornstein_uhlenbeck(BARS, seed=7_000 + cell["seed"])
    location = created(folder, bars, [cell["agent"]], 1, cell["seed"])
    begun = time.process_time()
    context: Context = run_inline(location, 1)
    seconds = time.process_time() - begun
    with experiment_of(location) as (_, experiment):
        study = experiment.studies[0]
    storage = open_storage(location)
    defaults, _ = Agents(context).judge(trial_of(storage, study.study_id, 0))
    storage.close()
    assert study.best is not None
    return {
        "chosen": study.best.number,
        "selection": study.best.selection_score,
        "tuned": study.best.held_out_score,
        "defaults": defaults,
        "processor_s": seconds,
    }


def stock(cell: Any, folder: Path) -> dict[str, Any]:
    """The libraries' defaults on the test period of the markets of `tuned`."""
    bars = ornstein_uhlenbeck(BARS, seed=7_000 + cell["seed"])
    location = created(folder, bars, [cell["agent"]], 1, cell["seed"], 1, untuned)
    begun = time.process_time()
    run_inline(location, 1)
    with experiment_of(location) as (_, experiment):
        best = experiment.studies[0].best
    assert best is not None
    seconds = time.process_time() - begun
    scores = {"selection": best.selection_score, "held_out": best.held_out_score}
    return {**scores, "processor_s": seconds}


def judged(cell: Any, folder: Path) -> dict[str, Any]:
    """What luck explains of the best trial on one market."""
    make = pure_noise if cell["part"] == "null" else ornstein_uhlenbeck
    bars = make(BARS, seed=8_000 + cell["seed"])
    location = created(folder, bars, [cell["agent"]], 1, cell["seed"])
    begun = time.process_time()
    run_inline(location, 1)
    with experiment_of(location) as (_, experiment):
        study = experiment.studies[0]
        assert study.best is not None
        assert study.evidence is not None
        known = study.evidence.trading or {}
        names = ("dsr_null", "dsr_cross", "trials", "effective_trials", "pbo")
        return {
            "selection": study.best.selection_score,
            "held_out": study.best.held_out_score,
            **{name: known.get(name) for name in names},
            "verdict": verdict(experiment),
            "processor_s": time.process_time() - begun,
        }


def hired(cell: Any, folder: Path) -> dict[str, Any]:
    """Trials an hour of one experiment with so many workers, from the first start to the end."""
    bars = ornstein_uhlenbeck(BARS, seed=9_000 + cell["seed"])
    location = created(folder, bars, [cell["agent"]], cell["workers"], cell["seed"])
    start_runner(location, 1)
    while True:
        with experiment_of(location) as (reader, experiment):
            if experiment.state in FINAL:
                listed = reader.trials(experiment.studies[0].study_id)
                break
        time.sleep(0.5)
    used = experiment.time_used_s
    return {"trials": len(listed), "seconds": used, "per_hour": 3600 * len(listed) / used}


def cells_of(part: str, agents: Sequence[str], seeds: Sequence[int]) -> Iterator[tuple[str, Any]]:
    """(name, settings) of each cell of a part."""
    same = {"trials": TRIALS, "steps": STEPS, "bars": BARS, "part": part}
    if part == "workers":
        for count in (1, 2):
            yield f"workers-{count}", {**same, "agent": "td3", "seed": 0, "workers": count}
    elif part in ("tuned", "stock"):
        own = {agent: {"params": STOCK[agent]} if part == "stock" else {} for agent in agents}
        for agent in agents:
            for seed in seeds:
                yield f"{part}-{agent}-{seed}", {**same, "agent": agent, "seed": seed, **own[agent]}
    else:
        for seed in seeds:
            yield f"{part}-{seed}", {**same, "agent": agents[seed % len(agents)], "seed": seed}


def rows_of(part: str, found: dict[str, dict[str, Any]]) -> list[list[Any]]:
    """What was measured beside its bar."""
    results = list(found.values())
    if part == "workers":
        one, two = (found[f"workers-{count}"]["per_hour"] for count in (1, 2))
        return [["2 workers against 1, trials an hour", ">= 1.8x", f"{two / one:.2f}x"]]
    if part == "tuned":
        return rows_of_tuned(found, {name: result["defaults"] for name, result in found.items()})
    if part == "stock":
        return rows_of_stock(found)
    passed = sum((r["dsr_null"] or 0.0) >= SKILL for r in results)
    led = sum(not r["verdict"].startswith("No agent") for r in results)
    bar = "<= 4 of 40" if part == "null" else ">= 8 of 10"
    return [
        [f"{part}: deflated Sharpe ratio of {SKILL:g} passed", bar, f"{passed} of {len(results)}"],
        [f"{part}: the verdict names a winner", "", f"{led} of {len(results)}"],
    ]


def rows_of_tuned(found: dict[str, dict[str, Any]], other: dict[str, float]) -> list[list[Any]]:
    """The chosen trial against another on the same market, by agent."""
    rows = []
    for agent in AGENTS:
        pairs = [
            (found[name]["tuned"], other[name])
            for name in found
            if name.startswith(f"tuned-{agent}-") and name in other
        ]
        if pairs:
            better, equal = sum(a > b for a, b in pairs), sum(a == b for a, b in pairs)
            each = " ".join(f"{a:.2f}/{b:.2f}" for a, b in pairs)
            measured = f"{better} of {len(pairs)}, {equal} equal ({each})"
            rows.append([f"tuned beats defaults, {agent}", ">= 3 of 5", measured])
    return rows


def rows_of_stock(found: dict[str, dict[str, Any]]) -> list[list[Any]]:
    """The chosen trials that were measured against the libraries' defaults."""
    kept = {name.replace("stock-", "tuned-"): cell["held_out"] for name, cell in found.items()}
    files = {name: KEPT / f"{name}.json" for name in kept}
    tuned = {n: json.loads(f.read_text())["result"] for n, f in files.items() if f.exists()}
    return [
        [what.replace("defaults", "stock"), *rest] for what, *rest in rows_of_tuned(tuned, kept)
    ]


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="PART")
    parser.add_argument("--agents", nargs="+", default=list(AGENTS), choices=AGENTS)
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--fresh", action="store_true", help="measure all again")
    how.add_argument("--kept", action="store_true", help="take cells of older code as they are")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    load = _common.load_average()
    print(_common.describe_machine())
    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        cells = _cells.Cells(KEPT, Path(folder), fresh=options.fresh, lasting=options.kept)
        works = {
            "tuned": tuned,
            "stock": stock,
            "null": judged,
            "planted": judged,
            "workers": hired,
        }
        for part in options.parts or PARTS:
            take = partial(cells.take, measure=works[part])
            named = cells_of(part, options.agents, options.seeds or PARTS[part])
            found = {name: take(name, settings=settings) for name, settings in named}
            rows += rows_of(part, found)
        cells.end()
    _common.print_table(["what", "bar", "measured"], rows)
    _common.save(options.json, "agents-studies", {"table": rows, "cells": cells.taken}, load)


if __name__ == "__main__":
    main()
