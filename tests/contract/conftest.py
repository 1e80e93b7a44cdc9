"""Stores for contract tests: the same copies of one prepared file as in unit tests."""

from tests.unit.conftest import location, storage

__all__ = ["location", "storage"]
