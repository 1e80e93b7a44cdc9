"""Processes: one runner an experiment, its workers, and what happens inside a trial."""
