"""Which study gets the next trial: a pure function of what the store says about them.

Under a number of trials every model gets its turn. Under a time limit a worker goes where the most
improvement per second is to be expected. Studies are arms whose *best* draw counts, not their mean
(Cicirello and Smith 2005; for choosing among learning algorithms Hu et al. 2021, "extreme-region
UCB", and Balef, Vernade and Eggensperger 2025, arXiv 2505.05226), priced by what a draw costs, as
FLAML's estimated cost for improvement has it (Wang et al. 2021, section 3.2).

The good end of a study's scores is taken to fall off exponentially with a scale b, which the
differences between its best scores tell. The next of n + 1 draws is better than the n before it
with probability 1 / (n + 1), and what it brings beyond the experiment's best, which is g above the
study's own, is

    gain = b exp(-g / b) / (n + 1).

A model that was not tried yet counts as a draw of the usual scale, by its declared `prior` and by
how much that is above the largest prior q of those that have a score:

    gain = b (3 prior^2 + 10 max(0, prior - q)).

Three times, because it brings the ensemble a model of another kind as well. So strong models get
their first trial early, the cheap ones first, models equally near to the best one get equal time,
and hopeless ones rest.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, median_low

OVERHEAD_S = 0.02
"""What a trial costs beside its training: nothing is free, however fast it is."""

TRIFLE, TRIFLE_S = 1 / 200, 0.5
"""Added to every price, of the time left and at most so many seconds: what costs less than that is
chosen by its gain alone, or the cheapest model would get a dozen trials before the strong ones."""

PRIOR_SCALES = 10.0
"""By how many scales of good scores the models with priors 1 and 0 differ, or so."""

LOADING_S = {"pytorch": 1.3, "advanced": 1.5}
USUAL_LOADING_S = 0.2
AFTER_TORCH_S = 0.3
"""Processor seconds for a worker to import what a family needs that it has not used yet: families
of torch (`bench/networks.py --only fixed` prints them); the others, a guess; and one of torch where
the other was used before."""

FAIR_SHARE = 0.4
"""A model that was not tried yet comes last if its first trial would take more of the time left."""

ROWS_SHARE = 0.05
"""The part of the time left that first trials of models may take together that nothing is expected
of, the cheapest ones: whoever asked for all models wants to see a score for each."""

NEW_KIND = 3.0
"""What a first trial is worth beside a second one: with less, the leader may take all of a short
time before the others were tried."""

MOST_PACE = 4.0
"""More than this is no slow machine but a law that is wrong for these data."""

DEFAULT_PRIOR = 0.3
DEFAULT_SECONDS = 1.0

LEAST_SCALE = 0.5

HARMONIC = {2: 1.0, 5: 1 + 1 / 2 + 1 / 3 + 1 / 4}
"""The best of an exponential tail and the m-th best are b (1 + ... + 1 / (m - 1)) apart."""


@dataclass(frozen=True, slots=True)
class StudyView:
    """What a claim knows of a study.

    is_open: whether it may get a trial; the others are what these are compared with.
    goal: finished trials wanted, or None. finished, running, waiting: trials by state.
    best, second, fifth: its best scores of complete trials; None where there are fewer.
    first_s: seconds that its trial 0 took, None if it is not complete. recent_s: mean seconds of
    its latest finished trials. loading_s: seconds for the asking worker to import its library.
    weights: relative cost of each set of the portfolio. expected_s: seconds of a trial of the
    defaults by the declared law; None for a study without a plan, which is never judged by cost.
    averages: whether its first trial may be cut short, see `most_seconds`.
    """

    study_id: int
    is_open: bool = True
    goal: int | None = None
    finished: int = 0
    running: int = 0
    waiting: int = 0
    best: float | None = None
    second: float | None = None
    fifth: float | None = None
    first_s: float | None = None
    recent_s: float | None = None
    loading_s: float = 0.0
    weights: Sequence[float] = field(default=())
    prior: float = DEFAULT_PRIOR
    expected_s: float | None = None
    averages: bool = False

    @property
    def number(self) -> int:
        """The number that its next trial has, if it takes none from the queue."""
        return self.finished + self.running + self.waiting


def view_plan(plan: Mapping[str, object] | None) -> dict[str, object]:
    """The fields of a view that a study's plan tells; see `engines.study.experiments.StudyPlan`."""
    if plan is None:
        return {}
    told: dict[str, object] = {
        "weights": tuple(plan.get("weights") or ()),  # type: ignore[arg-type]
        "averages": bool(plan.get("averages")),
    }
    if plan.get("expected_s") is not None:
        told["expected_s"] = plan["expected_s"]
    if plan.get("prior") is not None:
        told["prior"] = plan["prior"]
    return told


def loading_s(family: str, loaded: Collection[str]) -> float:
    """Seconds that a worker which has used the families `loaded` needs to import one."""
    if family in loaded:
        return 0.0
    if family in LOADING_S and not LOADING_S.keys().isdisjoint(loaded):
        return AFTER_TORCH_S
    return LOADING_S.get(family, USUAL_LOADING_S)


def choose(
    studies: Sequence[StudyView], *, maximize: bool, seconds_left: float | None, workers: int
) -> list[int]:
    """Ids of studies in the order in which a claim tries them.

    studies: all of the experiment, in its order; the open ones are named. seconds_left: of the
    experiment's time; None without a limit, then the smallest share of the goal comes first. With
    a limit, queued trials come first, then the largest gain per second, but a model without a score
    whose first trial costs next to nothing comes before second trials of others. A study whose
    next trial would take longer than what is left is not named, unless nothing of the experiment
    was ever complete and nothing runs. workers: how many share the time.
    """
    if seconds_left is None:
        turns = sorted(studies, key=lambda s: (_share(s), s.loading_s > 0))
        return [s.study_id for s in turns if s.is_open]
    pace = machine_pace(studies)
    sign = 1.0 if maximize else -1.0
    usual = _usual(studies, sign)
    bests = [sign * s.best for s in studies if s.best is not None]
    top = max(bests, default=None)
    fair = _fair_part(studies, workers)
    trifle = max(OVERHEAD_S, min(TRIFLE_S, TRIFLE * seconds_left))
    strong_left = any(
        s.is_open
        and not s.finished
        and not s.running
        and s.prior >= DEFAULT_PRIOR
        and expected_seconds(s, pace) <= fair * seconds_left
        for s in studies
    )
    cheap = _cheap_rows(studies, pace, seconds_left)
    ranked: list[tuple[bool, bool, float, int]] = []
    cheapest: tuple[float, int] | None = None
    for place, study in enumerate(studies):
        if not study.is_open:
            continue
        seconds = expected_seconds(study, pace)
        if _may_be_cut(study):
            seconds = min(seconds, fair * max(seconds_left, 0.0))
        if cheapest is None or seconds < cheapest[0]:
            cheapest = (seconds, place)
        judged = study.expected_s is not None
        if judged and seconds + study.loading_s > max(seconds_left, 0.0):
            continue
        untried = judged and not study.finished and not study.running
        dear = untried and top is not None and seconds > fair * seconds_left
        price = seconds + trifle + study.loading_s
        gain = _gain(study, top, usual, sign)
        # Once the strong ones have a score.
        is_trifle = not strong_left and study.study_id in cheap
        ranked.append((not study.waiting and not is_trifle, dear, -gain / price, place))
    busy = any(s.running for s in studies)
    if not ranked and cheapest and top is None and not busy and seconds_left > 0:
        return [studies[cheapest[1]].study_id]
    return [studies[place].study_id for *_, place in sorted(ranked)]


def most_seconds(
    study: StudyView, studies: Sequence[StudyView], seconds_left: float | None, workers: int
) -> float | None:
    """How long the next trial of a study may take, None without a limit.

    The first one of a model that averages its rounds gets a fair part of the time that is left,
    so that a forest too dear for it is a small forest, and not left out; all others get all.
    """
    if seconds_left is None or not _may_be_cut(study):
        return seconds_left
    return _fair_part(studies, workers) * seconds_left


def takes_portfolio(
    study: StudyView, studies: Sequence[StudyView], seconds_left: float | None
) -> bool:
    """Whether the next new trial of a study is the next set of its portfolio.

    Not if there is none left, or if it would take longer than the time that is left; the defaults
    are always taken.
    """
    number = study.number
    if number >= len(study.weights):
        return False
    if seconds_left is None or number == 0 or study.expected_s is None:
        return True
    return _set_seconds(study, machine_pace(studies)) <= seconds_left


def machine_pace(studies: Sequence[StudyView]) -> float:
    """How much longer trials take here than the declared laws say; 1 before anything finished.

    From the sums: a model that trains in a millisecond says something about everything but this.
    So does one whose first trial may have been cut short.
    """
    known = [
        (s.first_s, s.expected_s) for s in studies if s.first_s and s.expected_s and not s.averages
    ]
    if not known:
        return 1.0
    took = sum(first for first, _ in known)
    law = sum(expected + OVERHEAD_S for _, expected in known)
    return min(max(took / law, 1 / MOST_PACE), MOST_PACE)


def expected_seconds(study: StudyView, pace: float) -> float:
    """Seconds that the next trial of a study is expected to take."""
    known = [s for s in (study.recent_s, study.first_s) if s is not None]
    if study.number < len(study.weights) and study.expected_s is not None:
        portfolio = _set_seconds(study, pace)
        # Too dear a set is passed over, and something usual taken in its place.
        return min([portfolio, *known]) if study.number else portfolio
    if known:
        return known[0]
    return DEFAULT_SECONDS if study.expected_s is None else study.expected_s * pace


def _set_seconds(study: StudyView, pace: float) -> float:
    assert study.expected_s is not None
    defaults = study.first_s if study.first_s is not None else study.expected_s * pace
    return defaults * study.weights[study.number]


def _may_be_cut(study: StudyView) -> bool:
    return study.averages and study.number == 0


def _cheap_rows(studies: Sequence[StudyView], pace: float, seconds_left: float) -> set[int]:
    """The models without a trial that are cheap enough to get one for the sake of their row."""
    untried = [
        (expected_seconds(study, pace), study.study_id)
        for study in studies
        if study.is_open and study.expected_s is not None and not study.finished + study.running
    ]
    spent, found = 0.0, set[int]()
    for seconds, study_id in sorted(untried):
        spent += seconds
        if spent > ROWS_SHARE * seconds_left:
            break
        found.add(study_id)
    return found


def _share(study: StudyView) -> float:
    started = float(study.finished + study.running)
    return started / study.goal if study.goal else started


def _fair_part(studies: Sequence[StudyView], workers: int) -> float:
    """The part of the time left that a first trial may take; all of it if nothing else is there.

    A worker that goes away for long leaves the others at work: with several the part is larger.
    """
    if sum(s.is_open for s in studies) < 2:
        return 1.0
    return min(0.9, FAIR_SHARE * (1.0 if workers < 2 else 1.5))


def _gain(study: StudyView, top: float | None, usual: _Usual, sign: float) -> float:
    """The improvement of the experiment's best score that one more trial is expected to bring."""
    draws = study.finished + study.running
    if study.best is None or top is None:
        # What runs may be its first score: until it is there, others first. What failed, failed.
        above = max(0.0, study.prior - usual.prior)
        return usual.scale * (NEW_KIND * study.prior**2 + PRIOR_SCALES * above) / (1 + draws) ** 2
    scale = _scale(study, usual)
    return scale * math.exp(-(top - sign * study.best) / scale) / (1 + draws)


def _scale(study: StudyView, usual: _Usual) -> float:
    """The scale of a study's good scores.

    Its own, drawn towards the usual one while few trials tell it; never more than the models are
    apart, or twice the usual: the distance to a very bad score says little about the good ones.
    """
    own, scores = _own_scale(study)
    if own is None:
        return usual.scale
    count = max(scores, study.finished)
    return (min(own, usual.spread) * (count - 1) + usual.scale) / count


def _own_scale(study: StudyView) -> tuple[float | None, int]:
    if study.best is None:
        return None, 0
    for count, other in ((5, study.fifth), (2, study.second)):
        if other is not None:
            return abs(study.best - other) / HARMONIC[count], count
    return None, 1


@dataclass(frozen=True, slots=True)
class _Usual:
    """What is usual among the studies: the scale of good scores, and how far models are apart.

    prior: the largest of those that have a score; 0 before there is one.
    """

    scale: float
    spread: float
    prior: float


def _usual(studies: Sequence[StudyView], sign: float) -> _Usual:
    """The middle one of the studies' own scales, and the best model's lead on the middle one.

    The scale of a study shrinks as it is searched; that of one that was not searched yet is at
    least half the lead.
    """
    own = [scale for s in studies if (scale := _own_scale(s)[0])]
    bests = [s.best for s in studies if s.best is not None]
    middle = median(bests) if bests else 0.0
    lead = max((sign * (best - middle) for best in bests), default=0.0)
    least = LEAST_SCALE * lead or (abs(middle) / 20 or 1.0) * (not own)
    scale = max(median_low(own), least) if own else least
    prior = max((s.prior for s in studies if s.best is not None), default=0.0)
    return _Usual(scale, max(lead, 2 * scale) if lead else math.inf, prior)
