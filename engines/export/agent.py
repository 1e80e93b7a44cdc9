"""An exported agent, read back: the positions that it takes, bar by bar. Its files hold no code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from engines.data.market import as_seen
from engines.data.scoring import TRADING, ScoreError
from engines.data.terms import Terms
from engines.errors import BadInput, HyperionError, PackageMissing, one_line
from engines.export.document import FILE, check_files, differences, read_document
from engines.export.rows import read_new
from engines.models.rl_agents.policy import AgentPolicy
from simulator.bars import Bars, load_bars
from simulator.costs import Costs
from simulator.errors import PackageNeeded, SimulatorError
from simulator.market import Market, build_market

Floats = npt.NDArray[np.float64]

POLICY_FORMAT = "policy"
"""How the card calls `policy.json` and `weights.npz`."""


@dataclass(frozen=True)
class Known:
    """The bars before the test period, by what they are. sha256: of their prices alone.

    begins: bars of the data, counted from 0, where a later period and a new account begin: that of
    validation, that of the test. There are `begins[-1]` bars.
    """

    data: str
    sha256: str
    begins: tuple[int, ...]

    @classmethod
    def of(cls, bars: Bars, data: str, begins: tuple[int, ...]) -> Known:
        """Those at the beginning of the whole data."""
        return cls(data, _prices_of(bars, begins[-1]), begins)

    def are_in(self, bars: Bars) -> bool:
        """Whether other bars begin with these."""
        rows = self.begins[-1]
        return len(bars) >= rows and _prices_of(bars, rows) == self.sha256


@dataclass(frozen=True)
class ExportedAgent:
    """What `export` has written of a study of agents. Read one with `ExportedAgent.load(folder)`.

    terms: the costs and the limit that it was trained and judged under; what it decides depends on
    its own account, and so on them. notices: what differs here from where it was made.
    """

    policy: AgentPolicy
    terms: Terms
    known: Known
    time_column: str | None
    notices: tuple[str, ...] = ()

    @classmethod
    def load(cls, folder: str | Path) -> ExportedAgent:
        """Read a folder. Raises BadInput if no agent was exported to it, or if it was changed."""
        folder = Path(folder)
        document = read_document(folder)
        if document.get("task") != TRADING:
            raise BadInput(f"{folder} holds no agent, but a model: see `hyperion-tui predict`.")
        try:
            check_files(folder, document)
            known = document["known"]
            return cls(
                policy=AgentPolicy.load(folder),
                terms=Terms.of(document["terms"]),
                known=Known(
                    str(known["data"]), str(known["sha256"]), tuple(map(int, known["begins"]))
                ),
                time_column=document["time_column"],
                notices=tuple(differences(document["versions"])),
            )
        except HyperionError:
            raise
        except Exception as error:  # the border: a document may hold anything
            what = f"{type(error).__name__}: {one_line(error, 200)}"
            raise BadInput(f"{folder / FILE} can't be read ({what}): export it again.") from error

    def document(self, versions: Mapping[str, str]) -> dict[str, Any]:
        """What `load` reads, without the seals of the files."""
        return {
            "task": TRADING,
            "terms": self.terms.describe(),
            "known": asdict(self.known),
            "time_column": self.time_column,
            "versions": dict(versions),
        }

    def laid_out(self, bars: Bars) -> Market:
        """Bars as it sees and trades them. Raises BadInput for bars without its features.

        bars: with columns as `engines.data.market.as_seen` makes them.
        """
        terms, names = self.terms, self.policy.card.feature_names
        try:
            return build_market(
                bars,
                costs=Costs(
                    terms.fee, terms.slippage, terms.spread, terms.borrow_rate, terms.funding_rate
                ),
                features=list(names),
                window=self.policy.card.window,
                max_position=terms.max_position,
                bars_per_year=terms.bars_per_year,
            )
        except SimulatorError as error:
            raise BadInput(f"{one_line(error)}.") from None

    def positions(self, bars: Bars) -> Floats:
        """What it wants to hold after each bar, float64 (bars,): fractions of equity.

        The last one is for the bar to come. The account begins flat at the first bar whose features
        are known, before which all is 0. Where bars begin with those that it was trained and chosen
        on, each period has an account of its own, as when it was judged. Raises BadInput,
        PackageMissing without numba.
        """
        return self.along(self.laid_out(as_seen(bars, self.policy.card.feature_names)))

    def along(self, market: Market) -> Floats:
        """As `positions`, along bars that are laid out already."""
        bars = market.bars
        starts = [market.first]
        if self.known.are_in(bars):
            starts += [begin for begin in self.known.begins if market.first < begin < market.last]
        wanted = np.zeros(len(bars))
        try:
            for first, last in zip(starts, [*starts[1:], market.last], strict=True):
                rows = slice(first, last + 1)
                wanted[rows] = self.policy.positions(market, first, last)[rows]
        except PackageNeeded as error:
            raise PackageMissing(f"{error}.") from None
        except ScoreError as error:
            raise HyperionError(f"{bars.name}: {one_line(error)}.") from error
        return wanted

    def predict_file(self, path: Path) -> tuple[Floats, tuple[str, ...]]:
        """(`positions` along a CSV or Parquet file of bars, `about` them). Raises BadInput."""
        bars = self.read(path)
        return self.positions(bars), self.about(bars)

    def read(self, path: Path) -> Bars:
        """The bars of a file. Raises BadInput for what can't be traded."""
        frame = read_new(path).frame
        clock = self.time_column if self.time_column in frame.columns else None
        try:
            return load_bars(
                frame, bars_per_year=self.terms.bars_per_year, time_column=clock, name=str(path)
            )
        except SimulatorError as error:
            raise BadInput(f"{one_line(error)}.") from None

    def about(self, bars: Bars) -> tuple[str, ...]:
        """What a person should know of its positions along these bars, one line each."""
        if not self.known.are_in(bars):
            return ()
        rows = self.known.begins[-1]
        return (
            f"the agent was trained and chosen on rows before row {rows + 1:,}, where the test "
            "period begins: what it does there is no evidence",
        )


def _prices_of(bars: Bars, rows: int) -> str:
    # The copy that an experiment keeps has no stamps.
    return replace(bars.head(rows), stamps=None).sha256
