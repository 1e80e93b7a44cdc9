"""Hyperion's engine: search, models, data, store, workers and analysis, without a screen.

Importing this package loads nothing heavy; every sub-package is imported where it is used.
"""

__version__ = "0.1.0"
