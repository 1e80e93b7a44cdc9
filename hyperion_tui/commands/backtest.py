"""`backtest POLICY --data FILE`: a policy through the simulator, beside policies without skill."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.analysis import export
from engines.errors import BadInput, PackageMissing, one_line
from engines.files import typed_path
from engines.study.location import Location
from hyperion_tui import text
from hyperion_tui.output import print_json, print_table, talk

if TYPE_CHECKING:
    import pandas as pd

    from engines.models.rl_agents.policy import AgentPolicy
    from simulator.bars import Bars, Floats
    from simulator.episode import Episode
    from simulator.market import Market

SHOWN = {
    "Sharpe": ("sharpe_ratio", ".2f"),
    "return": ("total_return", ".1%"),
    "drawdown": ("max_drawdown", ".1%"),
    "trades": ("num_trades", "d"),
    "wins": ("win_rate", ".0%"),
    "turnover": ("turnover", ".1f"),
    "exposure": ("exposure", ".0%"),
}
"""Columns of the table: metric and format. The rest is in --json."""

KNOWS_TOO_MUCH = 0.8
"""Share of bars whose next move a policy may foretell before we ask where it has that from."""


def backtest(arguments: argparse.Namespace, location: Location) -> int:
    """`backtest`: metrics and baselines as a table or JSON; trade log and equity curve as files."""
    _check_targets(arguments)
    if importlib.util.find_spec("numba") is None:
        raise PackageMissing("backtest needs numba; add it with: pip install 'hyperion-tui[rl]'")
    from simulator.errors import PackageNeeded, SimulatorError

    try:
        bars = _bars(arguments)
        agent = _agent(arguments, bars, location)
        market = _market(bars, arguments, agent)
        positions = _positions(arguments, market) if agent is None else agent.positions(market)
        episodes = _run(arguments, market, positions)
    except PackageNeeded as error:
        raise PackageMissing(str(error)) from None
    except (SimulatorError, ValueError) as error:
        raise BadInput(one_line(error)) from None
    episode = episodes[arguments.policy]
    notices = [*market.notices, *_cut(arguments.policy, positions, market.max_position)]
    document = _document(arguments, market, episodes, notices)
    if arguments.json:
        print_json(document)
    elif arguments.trades != "-":
        _print(arguments, market, episodes, document)
    _warn_of_look_ahead(market, positions, episode)
    _write_files(arguments, episode)
    return 0


def _check_targets(arguments: argparse.Namespace) -> None:
    """Refuse before any work what could only fail at the end."""
    if arguments.equity and Path(arguments.equity).suffix.lower() not in (".svg", ".png"):
        raise BadInput(f"--equity {arguments.equity}: a name that ends in .svg or .png is needed.")
    if arguments.trades == "-" and arguments.json:
        raise BadInput("--trades - and --json both want stdout: name a file for the trades.")
    for target in (arguments.trades, arguments.equity):
        if target and target != "-" and Path(target).exists() and not arguments.force:
            raise BadInput(f"{target} exists: name another file, or add --force to replace it.")


def _bars(arguments: argparse.Namespace) -> Bars:
    from simulator.bars import load_bars
    from simulator.samples import SAMPLES, load_sample

    if arguments.data.casefold() in SAMPLES and not Path(arguments.data).exists():
        return load_bars(load_sample(arguments.data), bars_per_year=arguments.bars_per_year)
    from engines.data.reading import read_table

    path = typed_path(arguments.data)
    frame = read_table(path).frame
    _check_column(arguments.policy, frame)
    return load_bars(
        frame,
        bars_per_year=arguments.bars_per_year,
        time_column=arguments.time_column,
        name=str(path),
    )


def _check_column(policy: str, frame: pd.DataFrame) -> None:
    """Refuse a column of positions that holds text, naming the first of it."""
    from pandas import to_numeric
    from pandas.api.types import is_numeric_dtype

    from simulator.baselines import BASELINES

    if policy in BASELINES or policy not in frame or is_numeric_dtype(frame[policy]):
        return
    column = frame[policy]
    wrong = (to_numeric(column, errors="coerce").isna() & column.notna()).to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        value = text.clean(str(column.iloc[row])[:40])
        raise BadInput(
            f"'{policy}' is no number in row {row + 1} ('{value}'): positions are fractions of "
            "equity, such as 1, 0 and -1."
        )


def _agent(arguments: argparse.Namespace, bars: Bars, location: Location) -> AgentPolicy | None:
    """The saved agent that is meant, or None for a baseline or a column of positions."""
    from simulator.baselines import BASELINES

    if arguments.policy in BASELINES or arguments.policy in bars.columns:
        return None
    from hyperion_tui.commands.saved import find_agent

    return find_agent(arguments.policy, location)


def _market(bars: Bars, arguments: argparse.Namespace, agent: AgentPolicy | None) -> Market:
    """The bars to be traded, with the features that an agent was trained on."""
    from simulator.costs import Costs
    from simulator.market import build_market
    from simulator.risk import MaxDrawdown, Rule, StopLoss, TakeProfit

    features: list[str] = []
    if agent is not None:
        from engines.data.market import as_seen

        features = list(agent.card.feature_names)
        bars = as_seen(bars, features)
    rules: list[Rule] = []
    for share, rule in (
        (arguments.stop_loss, StopLoss),
        (arguments.take_profit, TakeProfit),
        (arguments.max_drawdown, MaxDrawdown),
    ):
        if share is not None:
            rules.append(rule(share))
    costs = Costs(
        transaction_cost=arguments.fee,
        slippage=arguments.slippage,
        spread=arguments.spread,
        borrow_rate=arguments.borrow_rate,
        funding_rate=arguments.funding_rate,
        fill=arguments.fill,
    )
    return build_market(
        bars,
        costs=costs,
        rules=rules,
        features=features,
        max_position=arguments.max_position,
    )


def _positions(arguments: argparse.Namespace, market: Market) -> Floats:
    """The positions of a baseline, or those in a column of the data."""
    from simulator.baselines import BASELINES

    bars, policy = market.bars, arguments.policy
    if policy in BASELINES:
        return BASELINES[policy](len(bars), market.max_position, arguments.seed)
    if policy in bars.columns:
        return bars.columns[policy]
    columns = f", or a column of numbers of the data: {', '.join(bars.columns)}"
    known = ", ".join(BASELINES) + (columns if bars.columns else "")
    raise BadInput(
        f"no policy '{policy}'; there are {known}; or name a saved agent's folder or its study."
    )


def _run(arguments: argparse.Namespace, market: Market, positions: Floats) -> dict[str, Episode]:
    """The policy first, then what belongs beside it, by name."""
    import numpy as np

    from simulator.baselines import beside
    from simulator.simulator import backtest as trade

    if not np.isfinite(positions[:-1]).all():
        row = int(np.flatnonzero(~np.isfinite(positions))[0])
        raise BadInput(f"'{arguments.policy}' is no number in row {row + 1}: fill it in.")
    if not np.isfinite(positions[-1]):  # never traded, but it would be if it changed its place
        positions = np.r_[positions[:-1], positions[-2]]
    series = {arguments.policy: positions}
    for name, other in beside(positions, market.max_position, arguments.seed).items():
        series.setdefault(name, other)
    return {
        name: trade(one, market, initial_balance=arguments.balance, first=0)
        for name, one in series.items()
    }


def _cut(policy: str, positions: Floats, most: float) -> list[str]:
    """A notice if positions are beyond the largest one: they are not what will be traded."""
    beyond = abs(positions[:-1]) > most * (1 + 1e-9)
    if not beyond.any():
        return []
    row = int(beyond.argmax())
    return [
        f"'{policy}' asks for more than {most:g} of equity in {int(beyond.sum()):,} rows "
        f"({positions[row]:g} in row {row + 1}): cut to it; see --max-position"
    ]


def _luck(episode: Episode) -> dict[str, Any]:
    """What the Sharpe ratio is worth as evidence, for one policy that was not chosen from many."""
    from simulator import statistics

    returns, a_year = episode.returns, episode.market.bars.bars_per_year
    samples = int(min(1000, max(200, 2_000_000 // len(returns))))
    interval = statistics.bootstrap_interval(returns, samples=samples)
    scale = a_year**0.5
    return {
        "probabilistic_sharpe_ratio": statistics.probabilistic_sharpe_ratio(returns),
        "sharpe_interval_95": None if interval is None else [bound * scale for bound in interval],
        "minimum_track_record_bars": statistics.minimum_track_record_length(returns),
    }


def _document(
    arguments: argparse.Namespace,
    market: Market,
    episodes: dict[str, Episode],
    notices: list[str],
) -> dict[str, Any]:
    bars = market.bars
    others = {name: e.metrics for name, e in episodes.items() if name != arguments.policy}
    return {
        "policy": arguments.policy,
        "data": {
            "name": bars.name,
            "sha256": bars.sha256,
            "bars": len(bars),
            "bars_per_year": bars.bars_per_year,
            "notices": notices,
        },
        "fill": market.costs.label,
        "metrics": episodes[arguments.policy].metrics,
        "luck": _luck(episodes[arguments.policy]),
        "baselines": others,
    }


def _print(
    arguments: argparse.Namespace,
    market: Market,
    episodes: dict[str, Episode],
    document: dict[str, Any],
) -> None:
    bars, costs, luck = market.bars, market.costs, document["luck"]
    for notice in document["data"]["notices"]:
        talk(notice)
    print(
        text.clean(
            f"{Path(bars.name).name}: {len(bars):,} bars, {bars.bars_per_year:g} a year; "
            f"filled at {costs.label}; fee {costs.transaction_cost:g}, slippage "
            f"{costs.slippage:g}, spread {costs.spread:g}"
        )
    )
    rows = [
        [name, *(_shown(episode.metrics[metric], form) for metric, form in SHOWN.values())]
        for name, episode in episodes.items()
    ]
    print_table(["policy", *SHOWN], rows)
    episode = episodes[arguments.policy]
    if luck["sharpe_interval_95"] is not None:
        low, high = luck["sharpe_interval_95"]
        chance = luck["probabilistic_sharpe_ratio"]
        above = "" if chance is None else f"; above 0 with a chance of {chance:.0%}"
        print(
            f"Sharpe ratio within {low:.2f} and {high:.2f} (95 %){above}, if this is the only try"
        )
    _print_curve(episode)
    metrics = episode.metrics
    print(
        f"{metrics['final_balance']:,.2f} at the end of {metrics['bars']:,} bars "
        f"({metrics['ended']}); costs paid {metrics['costs_paid']:,.2f}"
    )


def _shown(value: Any, form: str) -> str:
    return text.ABSENT if value is None else format(value, form)


def _print_curve(episode: Episode) -> None:
    from hyperion_tui.commands.curve import in_terminal

    encoding = (getattr(sys.stdout, "encoding", None) or "ascii").lower()
    for line in in_terminal(_equity(episode), ascii_only=not encoding.startswith("utf")):
        print(line)


def _equity(episode: Episode) -> Floats:
    """Money at every close from the first decision on."""
    import numpy as np

    return np.r_[episode.initial_balance, episode.equity]


def _warn_of_look_ahead(market: Market, positions: Floats, episode: Episode) -> None:
    """Say so if positions foretell the next bar's move: then they were made from it."""
    import numpy as np

    if market.costs.looks_ahead:
        talk("look-ahead: orders are filled at a price that was known when they were decided")
    moves = np.sign(np.diff(market.bars.close))
    sides = np.sign(positions[:-1])
    taken = (sides != 0) & (moves != 0)
    if taken.sum() >= 50 and (sides != sides[0]).any():
        share = float(np.mean(sides[taken] == moves[taken]))
        # Always long is right as often as prices rise, in some markets nearly always.
        blind = max(np.mean(moves[taken] > 0), np.mean(moves[taken] < 0))
        if share > KNOWS_TOO_MUCH and 1 - share < (1 - blind) / 2:
            talk(
                f"the positions foretell the next move in {share:.0%} of bars: they look ahead; "
                "shift the column by one row"
            )


def _write_files(arguments: argparse.Namespace, episode: Episode) -> None:
    if arguments.trades == "-":
        sys.stdout.write(export.to_csv(episode.trade_rows()))
    elif arguments.trades:
        content = export.to_csv(episode.trade_rows())
        export.write_whole(Path(arguments.trades), content, force=arguments.force)
        talk(f"written: {arguments.trades}")
    if arguments.equity:
        _write_picture(Path(arguments.equity), arguments, episode)
        talk(f"written: {arguments.equity}")


def _write_picture(path: Path, arguments: argparse.Namespace, episode: Episode) -> None:
    from hyperion_tui.commands.curve import as_png, as_svg

    bars = episode.market.bars
    if path.suffix.lower() == ".svg":
        ends = ("bar 1", f"bar {len(bars)}")
        if bars.stamps is not None:
            ends = (str(bars.stamps[0])[:10], str(bars.stamps[-1])[:10])
        title = f"{arguments.policy} on {Path(bars.name).name}, {episode.market.costs.label}"
        picture = as_svg(_equity(episode), text.clean(title), ends)
        export.write_whole(path, picture, force=arguments.force)
        return
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(as_png(_equity(episode)))
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise BadInput(f"{path} can't be written: {error.strerror}.") from error
