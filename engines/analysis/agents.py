"""What the scores of trading agents are worth, in words: plain data, nothing is computed here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engines.study.records import Baseline, Experiment, Study

SKILL = 0.95
"""A deflated Sharpe ratio from here on says skill: as often as that it is above 0, not luck."""

LEAD = 0.05
"""A lead on the test period counts when luck alone gives it less often. It is looked at once, by
agents that have passed the deflated Sharpe ratio on other bars already."""

LUCK = ("dsr_null", "dsr_cross", "trials", "effective_trials", "pbo")
"""See `engines.analysis.luck.multiple_testing`."""


def told(study: Study) -> Mapping[str, Any]:
    """What is known of a study's agent beside its scores, see `engines.run.agents`; {} before."""
    return (study.evidence.trading if study.evidence else None) or {}


def of_all(experiment: Experiment, leader: Study) -> Mapping[str, Any]:
    """The same numbers of luck with all trials of the experiment counted, once it has ended.

    Until then those of the leader's own study; {} where they could not be computed, because fewer
    trials would flatter.
    """
    if experiment.ensemble is None:
        return told(leader)
    evidence = experiment.ensemble.evidence
    return (evidence.trading if evidence else None) or {}


def verdict(experiment: Experiment) -> str:
    """One sentence on what the agents have shown; most often that it is nothing."""
    leader = experiment.ranked[0] if experiment.studies else None
    if leader is None or leader.best is None:
        return "No trial has completed."
    score, metric = leader.best.selection_score, experiment.metrics[0]
    rival = _above(experiment.baselines, "selection_score", score)
    if rival is not None:
        return (
            f"No agent beats the baselines: {rival.name} has {metric} "
            f"{rival.selection_score:.4g} in selection, {leader.model} {score:.4g}."
        )
    luck, held_out = of_all(experiment, leader), leader.best.held_out_score
    if "trials" not in luck or held_out is None:
        over = "so far leads" if experiment.state in ("running", "pausing", "paused") else "leads"
        return f"{leader.model} {over} with {metric} {score:.4g} in selection; nothing is tested."
    deflated = luck.get("dsr_null")
    if deflated is None or deflated < SKILL:
        worth = "not defined" if deflated is None else f"{deflated:.2g}, skill is {SKILL:g}"
        return (
            f"No agent beats the baselines: {metric} {score:.4g} of {leader.model} in selection "
            f"may be the luck of {_trials(luck)} (deflated Sharpe ratio {worth})."
        )
    rival = _above(experiment.baselines, "held_out_score", held_out)
    if rival is not None:
        return (
            f"No agent beats the baselines: on the test period {rival.name} has {metric} "
            f"{rival.held_out_score:.4g}, {leader.model} {held_out:.4g}."
        )
    p, against = (leader.evidence.p, leader.evidence.baseline) if leader.evidence else (None, None)
    if p is None or p >= LEAD:
        why = "" if p is None else f" (p = {p:.2g})"
        return (
            f"No agent beats the baselines: the lead of {leader.model} over {against} on the test "
            f"period may be luck{why}."
        )
    return (
        f"{leader.model} leads with {metric} {score:.4g} in selection, {held_out:.4g} on the test "
        f"period (better than {against}: p = {p:.2g}); deflated Sharpe ratio {deflated:.3g} of "
        f"{_trials(luck)}."
    )


def _trials(luck: Mapping[str, Any]) -> str:
    return f"{luck['trials']} trial{'' if luck['trials'] == 1 else 's'}"


def _above(baselines: tuple[Baseline, ...], part: str, score: float) -> Baseline | None:
    """The best baseline that a score does not exceed. The opposite of an agent is none."""
    rivals = [b for b in baselines if b.name != "sign_flipped" and getattr(b, part) is not None]
    best = max(rivals, key=lambda b: float(getattr(b, part)), default=None)
    return best if best is not None and float(getattr(best, part)) >= score else None
