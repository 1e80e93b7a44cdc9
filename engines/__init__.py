"""Hyperion's engine: search, models, data, store, workers and analysis, without a screen.

Importing this package loads nothing heavy; every sub-package is imported where it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engines.face.summary import compare_optimization_results
    from engines.optimizer import HyperparameterOptimizer

__all__ = ["HyperparameterOptimizer", "__version__", "compare_optimization_results"]
__version__ = "0.1.0"

_LAZY = {
    "HyperparameterOptimizer": "engines.optimizer",
    "compare_optimization_results": "engines.face.summary",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
