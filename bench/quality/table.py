"""From cells to the table: ratios of held-out errors, wins, seconds, and their bounds.

A ratio is our RMSE by the peer's in the same cell (mode, seconds, data set, seed): below one is
ours better. Ratios are pooled as a geometric mean. Its interval is a bootstrap over data sets, not
over cells: seeds of one set are not independent of each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

DRAWS = 10_000
WINS = 0.75
WORST_TO_DEFAULT = 1.01
SPENT = 1.05
OURS = "hyperion"

Key = tuple[str, int, str, int, str]
"""(mode, seconds, data set, seed, peer)."""
Cells = Mapping[Key, dict[str, Any]]


@dataclass(frozen=True)
class Row:
    """One line: what was measured, its bound, and whether it holds (None: no bound)."""

    what: str
    measured: str
    bound: str
    held: bool | None


@dataclass(frozen=True)
class Pair:
    """Our error by a peer's in one cell."""

    set: str
    seed: int
    seconds: int
    ratio: float
    peer_fit_s: float


def bound(mode: str, seconds: int | None, peer: str) -> float | None:
    """What the mean ratio is to stay below. seconds: None for all budgets together."""
    if mode != "any":
        return {"flaml": 0.97, "tpe_stock": 0.98}.get(peer)
    if peer == "autogluon":
        return {10: 1.0, 30: 0.97, 60: 0.97}.get(seconds or 0)
    return {"flaml": 0.97, "tpe_stock": 0.95}.get(peer)


def index(documents: Iterable[Mapping[str, Any]]) -> dict[Key, dict[str, Any]]:
    """Cells by what they are, failed ones included."""
    found: dict[Key, dict[str, Any]] = {}
    for document in documents:
        cell = document["cell"]
        key = (cell["mode"], cell["seconds"], cell["set"], cell["seed"], cell["peer"])
        found[key] = {**document.get("result", {}), "error": document.get("error")}
    return found


def pairs(cells: Cells, mode: str, seconds: int | None, peer: str) -> list[Pair]:
    """All cells that both have finished. A peer without a budget stands beside each of ours."""
    found = []
    for (m, s, name, seed, p), ours in cells.items():
        if p != OURS or m != mode or seconds not in (None, s) or ours["error"]:
            continue
        theirs = cells.get((m, s, name, seed, peer)) or cells.get((m, 0, name, seed, peer))
        if theirs is not None and not theirs["error"]:
            found.append(Pair(name, seed, s, ours["rmse"] / theirs["rmse"], theirs["fit_s"]))
    return found


def geometric_mean(ratios: Sequence[float]) -> float:
    """exp of the mean logarithm."""
    return math.exp(math.fsum(map(math.log, ratios)) / len(ratios))


def interval(found: Sequence[Pair]) -> tuple[float, float] | None:
    """95 % of the geometric means of data sets drawn with replacement; None below three sets."""
    logs: dict[str, list[float]] = {}
    for pair in found:
        logs.setdefault(pair.set, []).append(math.log(pair.ratio))
    if len(logs) < 3:
        return None
    sums = np.array([math.fsum(values) for values in logs.values()])
    counts = np.array([len(values) for values in logs.values()])
    drawn = np.random.default_rng(0).integers(len(logs), size=(DRAWS, len(logs)))
    means = np.exp(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def summarise(cells: Cells, modes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Rows for people (`table`) and the numbers behind them."""
    rivals = sorted({key[4] for key in cells} - {OURS, "default"})
    rows: list[Row] = []
    ratios: list[dict[str, Any]] = []
    for mode, budgets in modes.items():
        pooled: list[int | None] = [*sorted(budgets), *([None] if len(budgets) > 1 else [])]
        for seconds in pooled:
            for peer in rivals:
                if found := pairs(cells, mode, seconds, peer):
                    line = _line(found, mode, seconds, peer)
                    ratios.append(line)
                    rows += _ratio_rows(line)
    rows += _default_rows(cells, modes) + _spent_rows(cells) + _failed_row(cells)
    return {
        "table": [asdict(row) for row in rows],
        "ratios": ratios,
        "by_set": _by_set(cells),
        "spent": _spent(cells),
        "failed": [
            {"cell": "-".join(map(str, key)), "error": cell["error"]}
            for key, cell in sorted(cells.items())
            if cell["error"]
        ],
    }


def _line(found: Sequence[Pair], mode: str, seconds: int | None, peer: str) -> dict[str, Any]:
    ratios = [pair.ratio for pair in found]
    return {
        "mode": mode,
        "seconds": seconds,
        "peer": peer,
        "cells": len(found),
        "sets": len({pair.set for pair in found}),
        "ratio": geometric_mean(ratios),
        "interval": interval(found),
        "wins": sum(ratio < 1 for ratio in ratios) / len(ratios),
        "worst": max(ratios),
        "bound": bound(mode, seconds, peer),
        "by_set": {
            name: geometric_mean([pair.ratio for pair in found if pair.set == name])
            for name in sorted({pair.set for pair in found})
        },
    }


def _ratio_rows(line: dict[str, Any]) -> list[Row]:
    budget = "all budgets" if line["seconds"] is None else f"{line['seconds']} s"
    what = f"{line['mode']}, {budget}: RMSE by that of {line['peer']}"
    between = line["interval"]
    shown = f"{line['ratio']:.3f}"
    shown += f" [{between[0]:.3f}, {between[1]:.3f}]" if between else ""
    wins = f"{line['wins']:.0%} of {line['cells']}"
    limit = line["bound"]
    return [
        Row(
            what,
            f"{shown}, wins {wins}",
            "-" if limit is None else f"<= {limit:.2f}, >= {WINS:.0%}",
            None if limit is None else line["ratio"] <= limit and line["wins"] >= WINS,
        )
    ]


def _default_rows(cells: Cells, modes: Mapping[str, Sequence[int]]) -> list[Row]:
    """Never worse than no tuning at all, whatever the cell."""
    rows = []
    for mode in modes:
        found = pairs(cells, mode, None, "default")
        if not found:
            continue
        worst = max(found, key=lambda pair: pair.ratio)
        where = f"{worst.set}, {worst.seconds} s, seed {worst.seed}"
        late = "; the default took longer" if worst.peer_fit_s > worst.seconds else ""
        rows.append(
            Row(
                f"{mode}: the worst cell by the untuned default ({len(found)} cells)",
                f"{worst.ratio:.3f} ({where}{late})",
                f"<= {WORST_TO_DEFAULT:.2f}",
                worst.ratio <= WORST_TO_DEFAULT,
            )
        )
    return rows


def _spent(cells: Cells) -> list[dict[str, Any]]:
    """Seconds of fit by those asked, peer by peer."""
    shares: dict[tuple[str, str], list[float]] = {}
    for (mode, seconds, _, _, peer), cell in cells.items():
        if seconds and not cell["error"]:
            shares.setdefault((peer, mode), []).append(cell["fit_s"] / seconds)
    return [
        {
            "peer": peer,
            "mode": mode,
            "cells": len(spent),
            "mean": math.fsum(spent) / len(spent),
            "max": max(spent),
        }
        for (peer, mode), spent in sorted(shares.items())
    ]


def _spent_rows(cells: Cells) -> list[Row]:
    return [
        Row(
            f"{line['mode']}: seconds of fit by those asked, {line['peer']}",
            f"{line['mean']:.0%}, at most {line['max']:.0%}",
            f"<= {SPENT:.0%}" if line["peer"] == OURS else "-",
            line["max"] <= SPENT if line["peer"] == OURS else None,
        )
        for line in _spent(cells)
    ]


def _failed_row(cells: Cells) -> list[Row]:
    """A cell without a score is in no ratio, so it has a row."""
    ours = [cell for key, cell in cells.items() if key[4] == OURS]
    failed = sum(bool(cell["error"]) for cell in ours)
    what = f"cells in which {OURS} returned no model"
    return [Row(what, f"{failed} of {len(ours)}", "0", failed == 0)] if ours else []


def _by_set(cells: Cells) -> list[dict[str, Any]]:
    """Mean held-out R2 of every peer on every set, over seeds."""
    scores: dict[tuple[str, int, str], dict[str, list[float]]] = {}
    for (mode, seconds, name, _, peer), cell in sorted(cells.items()):
        if not cell["error"]:
            scores.setdefault((mode, seconds, name), {}).setdefault(peer, []).append(cell["r2"])
    return [
        {
            "mode": mode,
            "seconds": seconds,
            "set": name,
            "r2": {peer: math.fsum(found) / len(found) for peer, found in by_peer.items()},
        }
        for (mode, seconds, name), by_peer in scores.items()
    ]
