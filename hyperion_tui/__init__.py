"""Hyperion's terminal interface: the app and the commands of `hyperion-tui`."""

__version__ = "0.1.0"
