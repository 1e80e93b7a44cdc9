"""Are our metrics those of the field? Every one against empyrical-reloaded and quantstats.

200 random series of returns (8 kinds, seeded: tests/unit/simulator/peer_series.py) go through the
simulator's metrics and through both peers; the table shows the largest absolute difference a
metric. A second table holds the cases in which the peers disagree with each other, give
infinities or raise: there is nothing to agree with, so it says what each of them answers.

empyrical takes the risk-free return a bar, as we do; quantstats takes it a year, and is given
(1 + rf)^A - 1. quantstats' win rate and profit factor are per bar: our hit_rate and
bar_profit_factor.

The peers are needed for this and nothing else: pip install -r bench/peers.txt

A part of `simulator.py`.
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from pathlib import Path
from typing import Any

import _common
import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from simulator import metrics
from tests.unit.simulator.peer_series import EDGES, NAMES, RECORD, Series, all_series


def ours(series: Series) -> dict[str, Any]:
    """Our answers by name."""
    return metrics.return_metrics(series.returns, series.bars_per_year, series.risk_free)


def empyrical_answers(series: Series) -> dict[str, Any]:
    """empyrical's answers; where it has none of that name, there is no entry."""
    import empyrical

    r, a, rf = pd.Series(series.returns), series.bars_per_year, series.risk_free
    return {
        "sharpe_ratio": lambda: empyrical.sharpe_ratio(r, rf, annualization=a),
        "sortino_ratio": lambda: empyrical.sortino_ratio(r, rf, annualization=a),
        "annual_return": lambda: empyrical.annual_return(r, annualization=a),
        "max_drawdown": lambda: empyrical.max_drawdown(r),
        "calmar_ratio": lambda: empyrical.calmar_ratio(r, annualization=a),
        "volatility": lambda: empyrical.annual_volatility(r, annualization=a),
        "total_return": lambda: empyrical.cum_returns_final(r),
    }


def quantstats_answers(series: Series) -> dict[str, Any]:
    """quantstats' answers."""
    import quantstats.stats as qs

    index = pd.date_range("2000-01-03", periods=len(series.returns), freq="D")
    r, a = pd.Series(series.returns, index=index), series.bars_per_year
    rf = (1 + series.risk_free) ** a - 1
    return {
        "sharpe_ratio": lambda: qs.sharpe(r, rf=rf, periods=a),
        "sortino_ratio": lambda: qs.sortino(r, rf=rf, periods=a),
        "annual_return": lambda: qs.cagr(r, periods=a),
        "max_drawdown": lambda: qs.max_drawdown(r),
        "calmar_ratio": lambda: qs.calmar(r, periods=a),
        "volatility": lambda: qs.volatility(r, periods=a),
        "hit_rate": lambda: qs.win_rate(r),
        "bar_profit_factor": lambda: qs.profit_factor(r),
        "total_return": lambda: qs.comp(r),
    }


def ask(answers: dict[str, Any]) -> dict[str, float | str]:
    """Each answer as a number, or the name of the exception."""
    found: dict[str, float | str] = {}
    for name, answer in answers.items():
        try:
            found[name] = float(answer())
        except Exception as reason:  # what a peer raises is what we want to know
            found[name] = type(reason).__name__
    return found


PEERS = {"empyrical-reloaded": empyrical_answers, "quantstats": quantstats_answers}


def measure() -> dict[str, Any] | None:
    """{"peers", "largest_difference", "edges", "answers"}, or None without the peers."""
    warnings.simplefilter("ignore")
    try:
        import empyrical  # noqa: F401
        import quantstats  # noqa: F401
    except ImportError:
        return None
    answers = [{peer: ask(of(series)) for peer, of in PEERS.items()} for series in all_series()]
    return {
        "peers": peer_versions(),
        "largest_difference": compare(answers),
        "edges": edge_table(),
        "answers": answers,
    }


def show(measured: dict[str, Any]) -> None:
    """Both tables."""
    worst = measured["largest_difference"]
    print(f"largest difference over {len(measured['answers'])} series")
    rows = [[name, *(_text(value) for value in worst[name].values())] for name in NAMES]
    _common.print_table(["metric", *PEERS], rows)
    print("\nwhere the peers disagree, are infinite or raise")
    _common.print_table(["case", "metric", "ours", *PEERS], measured["edges"])


def record(measured: dict[str, Any]) -> None:
    """Write the peers' answers down for the tests, which need no peers then."""
    body = {"versions": measured["peers"], "series": measured["answers"]}
    RECORD.write_text(json.dumps(body) + "\n", encoding="utf-8")


def compare(rows: list[dict[str, dict[str, Any]]]) -> dict[str, dict[str, float | None]]:
    """The largest absolute difference by metric and peer; None where it has none."""
    worst: dict[str, dict[str, float | None]] = {}
    mine = [ours(series) for series in all_series()]
    for name in NAMES:
        worst[name] = {}
        for peer in PEERS:
            found = [
                abs(row[peer][name] - one[name])
                for row, one in zip(rows, mine, strict=True)
                if name in row[peer]
            ]
            worst[name][peer] = max(found) if found else None
    return worst


def edge_table() -> list[list[str | None]]:
    """Rows of the cases in which at least one peer gives no plain number, or they disagree."""
    rows = []
    for case, series in EDGES.items():
        mine = ours(series)
        answers = {peer: ask(of(series)) for peer, of in PEERS.items()}
        for name in NAMES:
            theirs = [answers[peer].get(name) for peer in PEERS]
            known = [value for value in theirs if value is not None]
            plain = [v for v in known if isinstance(v, float) and math.isfinite(v)]
            if len(plain) < len(known) or np.ptp([*plain, mine[name] or plain[0]]) > 1e-9:
                rows.append([case, name, _text(mine[name]), *[_text(v) for v in theirs]])
    return rows


def _text(value: Any) -> str:
    if isinstance(value, float) and 0 < abs(value) < 1e-6:
        return f"{value:.1e}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "None" if value is None else str(value)


def peer_versions() -> dict[str, str]:
    """The peers' versions."""
    from importlib.metadata import version

    return {peer: version(peer) for peer in PEERS}
