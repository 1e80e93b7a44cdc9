"""Hyperion's trading simulator: markets, costs, risk limits, agents' environment, statistics.

It knows nothing of studies or databases, and importing this package loads nothing heavy.
"""

__version__ = "0.1.0"
