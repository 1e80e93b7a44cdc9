"""Hyperion's trading simulator: markets, costs, risk limits, agents' environment, statistics.

It knows nothing of studies or databases, and importing this package loads nothing heavy: a name
below is imported from its module when it is first used.
"""

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from simulator.bars import Bars
    from simulator.costs import Costs
    from simulator.environment import TradingEnv
    from simulator.market import Market
    from simulator.simulator import TradingEnvironmentSimulator, backtest
    from simulator.synthetic import create_synthetic_trading_data
    from simulator.vector import TradingVectorEnv

__all__ = [
    "Bars",
    "Costs",
    "Market",
    "TradingEnv",
    "TradingEnvironmentSimulator",
    "TradingVectorEnv",
    "backtest",
    "create_synthetic_trading_data",
]

_MODULES = {
    "Bars": "bars",
    "Costs": "costs",
    "Market": "market",
    "TradingEnv": "environment",
    "TradingEnvironmentSimulator": "simulator",
    "TradingVectorEnv": "vector",
    "backtest": "simulator",
    "create_synthetic_trading_data": "synthetic",
}


def __getattr__(name: str) -> object:
    import importlib

    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'simulator' has no attribute {name!r}")
    found: object = getattr(importlib.import_module(f"simulator.{module}"), name)
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
