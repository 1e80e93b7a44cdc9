"""What the trading simulator promises, row by row, and whether it holds here.

Prints the table of promises, with the figures behind it: metrics against empyrical-reloaded and
quantstats (`_simulator_metrics.py`), steps a second against gym-trading-env and gym-anytrading
(`_simulator_speed.py`), equity against an account kept by hand in plain Python, causality,
environment checkers, the market whose optimum is known, luck and skill. Where a thing is also a
test, the code of the test runs here, so that both say the same.

Peers are for this bench alone, and in no extra: pip install -r bench/peers.txt. What is not
installed is left out and said.

`make bench ONLY=simulator`, or: python bench/simulator.py [--quick] [--only PART] [--json FILE]
[--record] (write what the peers answer down for the tests)
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _common
import _simulator_metrics
import _simulator_speed
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from simulator import statistics as luck
from simulator.bars import Bars
from simulator.causality import check_function
from simulator.costs import Costs
from simulator.environment import TradingEnv
from simulator.errors import LookAhead
from simulator.features import BUILT_IN
from simulator.market import build_market
from simulator.oracle import OrnsteinUhlenbeck, solve
from simulator.simulator import backtest
from simulator.synthetic import garch
from tests.property import test_accounting
from tests.unit.simulator import test_causality, test_oracle, test_statistics

Row = tuple[str, str, str, bool | None]
"""What, its bar, what was measured, and whether it holds (None: not measured here)."""


def metrics(_: argparse.Namespace, body: dict[str, Any]) -> list[Row]:
    """Metrics against the peers."""
    what, bar = "metrics against both peers, 200 series", "<= 1e-9"
    measured = _simulator_metrics.measure()
    if measured is None:
        return [(what, bar, "peers are not installed", None)]
    _simulator_metrics.show(measured)
    if _.record:
        _simulator_metrics.record(measured)
    answers = measured.pop("answers")
    body["metrics"] = measured
    worst = max(
        value
        for by_peer in measured["largest_difference"].values()
        for value in by_peer.values()
        if value is not None
    )
    assert len(answers) == 200
    return [(what, bar, f"{worst:.1e}", worst <= 1e-9)]


def accounting(_: argparse.Namespace, body: dict[str, Any]) -> list[Row]:
    """Equity against the account of the tests; and the faces against each other."""
    worst = 0.0
    for seed in range(5):
        bars = test_accounting.jumpy(10_001, seed=seed, volatility=0.01)
        costs = Costs(0.0002, 0.0001, 0.0002, borrow_rate=0.05, funding_rate=0.03)
        rules = [test_accounting.StopLoss(0.03), test_accounting.TakeProfit(0.05)]
        market = build_market(bars, features=[], costs=costs, rules=rules, max_position=1.5)
        positions = np.random.default_rng(seed).uniform(-2, 2, len(bars))
        account = test_accounting.by_hand(
            market, test_accounting.terms_of(market, stop=0.03, take=0.05), positions
        )
        equity = backtest(positions, market, first=0).equity
        worst = max(worst, test_accounting.difference(equity, account))
    body["equity"] = worst
    same = _holds(test_accounting.test_single_vector_and_backtest_give_the_same_bits)
    return [
        (
            "equity against plain Python, 5 x 10,000 steps",
            "<= 1e-10",
            f"{worst:.1e}",
            worst <= 1e-10,
        ),
        ("single = vector = backtest", "bit for bit", "equal" if same else "DIFFERENT", same),
    ]


def causality(_: argparse.Namespace, body: dict[str, Any]) -> list[Row]:
    """Built-in features pass, planted leaks are caught, the future changes nothing seen."""
    violations, caught, planted = 0, 0, 0
    for seed in range(5):
        bars = garch(400, volatility=0.02, seed=seed)
        for name, function in BUILT_IN.items():
            violations += _looks_ahead(name, function, bars)
        for name, function in test_causality.LEAKS.items():
            planted += 1
            caught += _looks_ahead(name, function, bars)
    body["causality"] = {"violations": violations, "planted": planted, "caught": caught}
    return [
        ("causality of built-in features", "0 violations", str(violations), violations == 0),
        ("planted leaks", "100 % caught", f"{caught} of {planted}", caught == planted),
    ]


def _looks_ahead(name: str, function: Callable[[Bars], Any], bars: Bars) -> bool:
    try:
        check_function(name, function, bars)
    except LookAhead:
        return True
    return False


def checkers(_: argparse.Namespace, body: dict[str, Any]) -> list[Row]:
    """The checkers of gymnasium and of stable-baselines3, continuous and discrete."""
    from gymnasium.utils import env_checker

    market = build_market(garch(400, volatility=0.02, seed=1), window=2)
    rows: list[Row] = []
    checks = {"gymnasium": lambda env: env_checker.check_env(env, skip_render_check=True)}
    try:
        from stable_baselines3.common.env_checker import check_env

        checks["stable-baselines3"] = lambda env: check_env(env, warn=True)
    except ImportError:
        rows.append(("check_env, stable-baselines3", "0 warnings", "not installed", None))
    for name, check in checks.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for actions in ("continuous", 5):
                check(TradingEnv(market, actions=actions))
        body[f"check_env, {name}"] = [str(one.message) for one in caught]
        rows.append((f"check_env, {name}", "0 warnings", str(len(caught)), not caught))
    return rows


def speed(arguments: argparse.Namespace, body: dict[str, Any]) -> list[Row]:
    """Steps a second, beside the peers of the same run."""
    measured = _simulator_speed.measure(3 if arguments.quick else 7)
    _simulator_speed.show(measured)
    body["speed"] = measured
    ratios, steps = measured["ratios"], measured["steps_per_s"]
    vector = steps["TradingVectorEnv 256"]
    rows: list[Row] = []
    for rival, least in (("gym-trading-env", 10), ("gym-anytrading", 2)):
        ratio = ratios["TradingEnv"].get(rival)
        text = "not installed" if ratio is None else f"{ratio:.1f} x"
        held = None if ratio is None else ratio >= least
        rows.append((f"gymnasium face against {rival}", f">= {least} x", text, held))
    ratio = ratios["TradingVectorEnv 256"].get("gym-trading-env")
    text = f"{vector / 1e6:.1f} M/s" + ("" if ratio is None else f", {ratio:.0f} x")
    held = vector >= 10e6 or (ratio is not None and ratio >= 100)
    bar = ">= 10 M/s or 100 x gym-trading-env"
    return [*rows, ("vector face, 256 accounts", bar, text, held)]


def oracle(_: argparse.Namespace, body: dict[str, Any]) -> list[Row]:
    """The best policy of a known market, simulated, against formula and dynamic programming."""
    market = OrnsteinUhlenbeck()
    x = market.paths(10_000, 200, seed=1)
    r = test_oracle.simulate(x, -np.sign(x), 0.0)
    sharpe, known = float(r.mean() / r.std(ddof=1) * np.sqrt(252)), market.best_sharpe()
    off = sharpe / known - 1
    rows: list[Row] = [
        ("OU optimum without costs, Sharpe", f"{known:.3f} +- 2 %", f"{sharpe:.3f} ({off:+.1%})",
         abs(off) <= 0.02)
    ]  # fmt: skip
    body["oracle"] = {"sharpe": [sharpe, known]}
    for cost in (0.001, 0.002):
        policy = solve(market, cost)
        growth = float(np.log1p(test_oracle.simulate(x, policy.positions(x), cost)).mean())
        off = growth / policy.growth - 1
        body["oracle"][f"growth at {cost}"] = [growth, policy.growth]
        what = f"OU optimum at {cost * 1e4:.0f} bp, growth a bar"
        text = f"{growth:.6f} ({off:+.1%})"
        rows.append((what, f"{policy.growth:.6f} +- 2 %", text, abs(off) <= 0.02))
    return rows


def skill(_: argparse.Namespace, body: dict[str, Any]) -> list[Row]:
    """The best of 50 policies in 40 markets of noise, and in 40 with a planted Sharpe of 2.9."""
    tried, markets = test_statistics.POLICIES, range(test_statistics.MARKETS)
    lucky = [test_statistics.best_of(test_statistics.null_market(seed)) for seed in markets]
    skilled = [test_statistics.best_of(test_statistics.planted_market(seed)) for seed in markets]
    naive = sum(luck.probabilistic_sharpe_ratio(r) > 0.95 for r in lucky)
    fooled = sum(luck.deflated_sharpe_ratio(r, tried) > 0.95 for r in lucky)
    found = sum(luck.deflated_sharpe_ratio(r, tried) > 0.95 for r in skilled)
    body["luck"] = {"naive": naive, "fooled": fooled, "found": found}
    return [
        ("noise called skill, probabilistic Sharpe", "(most)", f"{naive} of 40", None),
        ("noise called skill, deflated Sharpe", "<= 2 of 40", f"{fooled} of 40", fooled <= 2),
        ("skill called skill, deflated Sharpe", ">= 36 of 40", f"{found} of 40", found >= 36),
    ]


def compilation(_: argparse.Namespace, body: dict[str, Any]) -> list[Row]:
    """The compiler, without and with a cache, in seconds of the processor."""
    measured = _simulator_speed.compiler()
    body["compilation"] = measured
    _common.print_table(["compiled core", "s"], measured.items())
    cold, warm = measured["cold, processor s"], measured["warm again, processor s"]
    return [
        ("compiling the core, once", "<= 20 s", f"{cold:.1f} s", cold <= 20),
        ("loading it from the cache", "<= 0.5 s", f"{warm:.2f} s", warm <= 0.5),
    ]


def _holds(test: Callable[[], None]) -> bool:
    try:
        test()
    except AssertionError:
        return False
    return True


PARTS = (metrics, accounting, causality, checkers, speed, oracle, skill, compilation)


def main() -> None:
    """Measure, print the table, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="3 rounds of speed instead of 7")
    parser.add_argument("--only", choices=[part.__name__ for part in PARTS])
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    load = _common.load_average()
    print(_common.describe_machine())
    body: dict[str, Any] = {}
    rows: list[Row] = []
    for part in PARTS:
        if arguments.only in (None, part.__name__):
            print(f"\n-- {part.__name__}")
            rows += part(arguments, body)
    words = {True: "yes", False: "NO", None: "-"}
    print()
    _common.print_table(
        ["what", "bar", "measured", "holds"],
        [[what, bar, text, words[held]] for what, bar, text, held in rows],
    )
    body["table"] = rows
    body["with"] = _simulator_speed.versions()
    _common.save(arguments.json, "simulator", body, load)


if __name__ == "__main__":
    main()
