"""What the card of an exported agent says beside its scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

ROWS = {
    "Sharpe ratio": ("sharpe_ratio", ".3f"),
    "return": ("total_return", ".2%"),
    "largest drawdown": ("max_drawdown", ".2%"),
    "trades": ("num_trades", "d"),
    "turnover, times equity": ("turnover", ".1f"),
    "exposure": ("exposure", ".0%"),
    "costs paid of 10,000": ("costs_paid", ".2f"),
}
"""Of this agent in a period: the metric, and how it is written."""

COSTS = ("fee", "slippage", "spread", "borrow_rate", "funding_rate")


def about_agent(told: Mapping[str, Any]) -> Iterator[str]:
    """Lines of Markdown. told: `trading` of the card, see `engines.export.agents`."""
    periods = told["periods"]
    yield f"## What this agent did, {told['agent']} of seed {told['seed']}"
    yield ""
    yield f"| | {' | '.join(periods)} |"
    yield f"|---|{'---|' * len(periods)}"
    for label, (name, form) in ROWS.items():
        cells = [_cell(period[name], form) for period in periods.values()]
        yield f"| {label} | {' | '.join(cells)} |"
    yield ""
    yield from _luck(told)
    yield "## What it sees and pays"
    yield ""
    yield f"- Features: {', '.join(map(_code, told['features']))}."
    if told["own_features"]:
        yield (
            f"- Columns that the data must have: {', '.join(map(_code, told['own_features']))}; "
            "each is scaled by its own past, from the first row on."
        )
    terms = told["terms"]
    costs = ", ".join(f"{name.replace('_', ' ')} {terms[name]:g}" for name in COSTS)
    yield f"- Costs, also of its own account: {costs}."
    yield f"- At most {told['max_position']:g} of equity, long or short."
    rows = ", ".join(
        f"{name} {first:,} to {last:,}" for name, (first, last) in told["rows"].items()
    )
    yield f"- Periods, by row: {rows}; {terms['bars_per_year']:g} bars a year."
    yield "- Every account begins flat. Another beginning means other positions for some bars."
    yield ""


def _luck(told: Mapping[str, Any]) -> Iterator[str]:
    for what, part in (("its study", "luck"), ("all studies", "luck_of_all")):
        luck = told[part]
        if luck is None or luck.get("trials") is None:
            continue
        yield (
            f"Of {luck['trials']} trials of {what}, worth {_number(luck['effective_trials'])} "
            f"independent ones: deflated Sharpe ratio {_number(luck['dsr_null'])}, with the spread "
            f"of the trials themselves {_number(luck['dsr_cross'])}; probability of overfitting "
            f"{_number(luck['pbo'])}."
        )
        yield ""
    for what, part in (("selection", "seeds"), ("test", "held_out_seeds")):
        if told[part]:
            yield f"Seeds in {what}: {', '.join(map(_number, told[part]))}."
            yield ""


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.3g}"


def _cell(value: float | None, form: str) -> str:
    return "—" if value is None else format(value, form)


def _code(name: str) -> str:
    return f"`{''.join(c if c.isprintable() and c != '`' else '�' for c in name)}`"
