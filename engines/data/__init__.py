"""Data sets (load, check, hash), splits that the search can't see through, and scorers."""
