"""`list`, `show`, `trials` and `compare`: looking, which starts nothing and locks nothing."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from engines.analysis import export
from engines.analysis.compare import (
    Group,
    Key,
    Pinned,
    changed_parameters,
    differences,
    gap,
    group_comparable,
)
from engines.analysis.report import (
    experiment_document,
    trial_detail_document,
    trial_document,
)
from engines.errors import BadInput, NotComparable
from engines.files import typed_path
from engines.run.pinning import pin
from engines.study.location import Location
from engines.study.reader import Reader
from engines.study.records import Evidence, Experiment, Study, Trial
from hyperion_tui import fronts, text, words
from hyperion_tui.commands import agents
from hyperion_tui.commands.run import describe_start, print_document, print_ranking
from hyperion_tui.output import print_json, print_table, talk


@contextlib.contextmanager
def looking(location: Location) -> Iterator[Reader]:
    """A reader of the store; says so where it shows it in another way than as it is now."""
    with contextlib.closing(Reader(location)) as reader:
        if reader.note is not None:
            talk(f"note: {reader.note}.")
        yield reader


def list_experiments(arguments: argparse.Namespace, location: Location) -> int:
    """`list`: every experiment with its studies; an empty list where there is no store yet."""
    experiments: list[Experiment] = []
    if location.may_exist:
        with looking(location) as reader:
            experiments = reader.trash() if arguments.trash else reader.experiments()
    if arguments.json:
        print_json([experiment_document(e, None) for e in experiments])
        return 0
    if not experiments and arguments.trash:
        talk("The trash is empty.")
        return 0
    if not experiments:
        talk(
            f"Nothing yet in {text.clean(location.shown)}. "
            "Try: hyperion-tui run ridge lightgbm --data diabetes"
        )
        return 0
    rows = []
    tagged = any(experiment.tags for experiment in experiments)
    for experiment in experiments:
        leader = experiment.ranked[0] if experiment.studies else None
        best = leader.best.selection_score if leader and leader.best else None
        rows.append(
            [
                experiment.name,
                state_line(experiment),
                f"{experiment.finished}/{experiment.goal or '-'}",
                leader.model if leader and leader.best else None,
                best,
                experiment.metric,
                text.duration(experiment.eta_s) if experiment.state == "running" else text.ABSENT,
                text.day(experiment.created_at),
                *([" ".join(experiment.tags)] if tagged else []),
            ]
        )
    headers = ["experiment", "state", "trials", "best", "score", "metric", "eta", "created"]
    print_table([*headers, *(["tags"] if tagged else [])], rows)
    return 0


def state_line(experiment: Experiment) -> str:
    """The state, and what to do where nobody drives what should be running."""
    if experiment.is_orphaned:
        return f"{experiment.state} (no runner: resume {experiment.name})"
    if experiment.runner_host is not None:
        return f"{experiment.state} (on {experiment.runner_host})"
    if experiment.trouble is not None:
        return f"{experiment.state} ({experiment.trouble})"
    running = sum(study.counts.running for study in experiment.studies)
    if experiment.state == "pausing" and running:
        return f"pausing ({text.plural(running, 'trial')} in hand)"
    return experiment.state


def show(arguments: argparse.Namespace, location: Location) -> int:
    """`show NAME`: one experiment, or one study of it."""
    with looking(location) as reader:
        pairs = reader.find_studies(arguments.name)
        by_id = {e.experiment_id: e for e, _ in pairs}
        if len(by_id) != 1:
            names = ", ".join(e.name for e in by_id.values())
            raise BadInput(f"`{arguments.name}` is several experiments ({names}): name one.")
        experiment = next(iter(by_id.values()))
        if "/" in arguments.name:
            experiment = _only(experiment, {study.study_id for _, study in pairs})
        if arguments.json:
            print_document(reader, experiment)
            return 0
        for line in describe_start(experiment):
            print(text.clean(line))
        print(text.clean(f"state: {state_line(experiment)}"))
        for worker in reader.workers(experiment.experiment_id):
            if worker.flag is not None:
                at = f" at {worker.trial}" if worker.trial else ""
                print(text.clean(f"worker {worker.slot}{at}: {worker.flag}"))
        print_ranking(experiment)
        print_front(experiment)
        print_certainty(experiment)
        for study in experiment.ranked[:1]:
            if study.best is not None:
                params = reader.best_params(study.study_id, study.best.number)
                shown = ", ".join(f"{k}={text.parameter(v)}" for k, v in params.items())
                print(text.clean(f"best: {study.model} trial {study.best.number}: {shown}"))
    return 0


def print_front(experiment: Experiment) -> None:
    """Of several metrics: the trials that no other one of their study beats; else nothing."""
    rows = fronts.rows(experiment) if experiment.has_several else []
    if rows:
        print_table(["front of", "trial", *experiment.metrics, ""], rows)
    for line in fronts.plot(experiment):
        print(text.clean(line))


def print_certainty(experiment: Experiment) -> None:
    """How sure the scores are, for what the held-out part was opened for; nothing before that."""
    if experiment.task == agents.TRADING:
        agents.print_certainty(experiment)
        return
    known: list[tuple[str, Evidence | None]] = [(s.model, s.evidence) for s in experiment.ranked]
    if experiment.ensemble is not None:
        known.insert(0, ("ensemble", experiment.ensemble.evidence))
    rows = [
        [
            name,
            words.selection_interval(evidence),
            words.held_out_interval(evidence),
            words.probability(evidence.p),
            evidence.baseline,
        ]
        for name, evidence in known
        if evidence is not None
    ]
    if rows:
        print_table(["model", "selection 95 %", "held-out 95 %", "p", "against"], rows)
        print("p: how often luck alone gives such a lead over the baseline on the held-out rows")


def _only(experiment: Experiment, study_ids: set[int]) -> Experiment:
    kept = tuple(s for s in experiment.studies if s.study_id in study_ids)
    return replace(experiment, studies=kept)


def trials(arguments: argparse.Namespace, location: Location) -> int:
    """`trials STUDY`: every trial of one study, as a table or in a file; or one of them whole."""
    _one_form(arguments)
    if arguments.replay:
        return replay(arguments, location)
    if arguments.number is not None:
        return one_trial(arguments, location)
    with looking(location) as reader:
        pairs = reader.find_studies(arguments.study)
        whole = arguments.csv or arguments.md
        if len(pairs) > 1 and not whole:
            names = ", ".join(study.name for _, study in pairs[:4])
            raise BadInput(f"`{arguments.study}` is {len(pairs)} studies ({names}...): name one.")
        found = [(e, s, reader.trials(s.study_id)) for e, s in pairs]
        scores = {s.study_id: _scores_of_all(reader, e, s) for e, s in pairs}
        notes = {s.study_id: reader.attributes(s.study_id) for _, s in pairs if whole}
    if arguments.csv or arguments.md:
        rows = [
            row
            for e, s, listed in found
            for row in export.trial_rows(e, s, listed, notes[s.study_id], scores[s.study_id])
        ]
        return write_table(arguments, rows, TRIAL_COLUMNS)
    experiment, study, listed = found[0]
    known = scores[study.study_id]
    if arguments.json:
        print_json([{**trial_document(t), **_values(experiment, known, t)} for t in listed])
        return 0
    others = experiment.metrics[1:]
    columns = list(dict.fromkeys(name for trial in listed for name in trial.params))
    print_table(
        ["number", "state", "value", *others, "time", "worker", *columns, "error"],
        [
            [t.number, t.state, t.value]
            + list(known.get(t.number, (None,) * (len(others) + 1))[1:])
            + [text.duration(t.duration_s), t.worker]
            + [text.parameter(t.params[n]) if n in t.params else None for n in columns]
            + [t.error]
            for t in listed
        ],
    )
    return 0


def _scores_of_all(
    reader: Reader, experiment: Experiment, study: Study
) -> dict[int, tuple[float, ...]]:
    """Of several metrics: the scores of complete trials by number; else nothing."""
    if not experiment.has_several:
        return {}
    return reader.points(study.study_id, len(experiment.metrics))


def _values(
    experiment: Experiment, scores: dict[int, tuple[float, ...]], trial: Trial
) -> dict[str, Any]:
    if not experiment.has_several:
        return {}
    found = scores.get(trial.number)
    return {"values": found and dict(zip(experiment.metrics, found, strict=True))}


def one_trial(arguments: argparse.Namespace, location: Location) -> int:
    """`trials STUDY NUMBER`: what is known of one trial."""
    if arguments.csv or arguments.md:
        raise BadInput("--csv and --md write all trials of a study: leave out the number.")
    with looking(location) as reader:
        pairs = reader.find_studies(arguments.study)
        if len(pairs) > 1:
            names = ", ".join(study.name for _, study in pairs[:4])
            raise BadInput(f"`{arguments.study}` is {len(pairs)} studies ({names}...): name one.")
        experiment, study = pairs[0]
        detail = reader.trial(study.study_id, arguments.number)
    if arguments.json:
        print_json(trial_detail_document(detail))
        return 0
    trial = detail.trial
    print(text.clean(f"{study.name} trial {trial.number}: {trial.state}, {_score(trial.value)}"))
    for name, value in trial.params.items():
        print(text.clean(f"  {name} = {text.parameter(value)}"))
    for line in words.trial_lines(detail, experiment):
        print(text.clean(line))
    for line in (detail.traceback or "").splitlines():
        print(text.clean(line.expandtabs(4)))
    return 0


def _score(value: float | None) -> str:
    return "no score" if value is None else f"score {text.number(value)}"


def replay(arguments: argparse.Namespace, location: Location) -> int:
    """`trials STUDY --replay`: every suggestion computed again; 1 if one differs."""
    if arguments.number is not None:
        raise BadInput("--replay looks at all trials of a study: leave out the number.")
    if arguments.csv or arguments.md:
        raise BadInput("--replay has no CSV or Markdown form: leave it out, or take --json.")
    from engines.analysis.replay import DIFFERS, SAME, UNKNOWN, replay_study  # Optuna: 0.3 s
    from engines.search.space import Space

    with looking(location) as reader:
        pairs = reader.find_studies(arguments.study)
        if len(pairs) > 1:
            names = ", ".join(study.name for _, study in pairs[:4])
            raise BadInput(f"`{arguments.study}` is {len(pairs)} studies ({names}...): name one.")
        experiment, study = pairs[0]
        declared = reader.space(study.study_id)
        space = None if declared is None else Space.from_json(declared)
        found = replay_study(experiment, study, reader.history(study.study_id), space)
        listed = reader.trials(study.study_id) if arguments.json else []
    if arguments.json:
        print_json(
            [{**trial_document(t), "replay": _replay_document(found.get(t.number))} for t in listed]
        )
    else:
        print_table(
            ["number", "replay", "parameters", "detail"],
            [[r.number, r.verdict, r.checked, text.clean(r.detail)] for r in found.values()],
        )
    counts = Counter(r.verdict for r in found.values())
    talk(", ".join(f"{counts[verdict]} {verdict}" for verdict in (SAME, DIFFERS, UNKNOWN)))
    return 1 if counts[DIFFERS] else 0


def _replay_document(replayed: Any) -> dict[str, object] | None:
    if replayed is None:
        return None
    return {
        "verdict": replayed.verdict,
        "detail": replayed.detail,
        "parameters": replayed.checked,
    }


def _one_form(arguments: argparse.Namespace) -> None:
    forms = [f"--{form}" for form in ("csv", "md", "json") if getattr(arguments, form)]
    if len(forms) > 1:
        named = " and ".join(forms)
        raise BadInput(f"{named} are {len(forms)} forms of the same answer: choose one.")


def write_table(
    arguments: argparse.Namespace, rows: list[dict[str, Any]], columns: Sequence[str]
) -> int:
    """Rows as CSV or Markdown, as `write_rows` has it."""
    target = arguments.csv or arguments.md
    if arguments.csv:
        content = export.to_csv(rows)
    else:
        with_params = getattr(arguments, "only_changed", True)
        content = export.to_markdown(rows, columns, with_params=with_params)
    return write_rows(target, content, len(rows), force=arguments.force)


def write_rows(target: str, content: str, count: int, *, force: bool) -> int:
    """Text of `count` rows to a file, or to stdout for `-`; says where and how many."""
    if target == "-":
        on_screen = sys.stdout.isatty()
        print("\n".join(map(text.clean, content.split("\n"))) if on_screen else content, end="")
        return 0
    path = typed_path(target)
    export.write_whole(path, content, force=force)
    talk(f"{text.plural(count, 'row')} written to {path}")
    return 0


COMPARED_COLUMNS = (
    *("rank", "study", "model", "selection_score", "selection_low", "selection_high"),
    *("held_out_score", "held_out_low", "held_out_high", "gap", "p_beats_baseline"),
    *("against", "difference", "difference_low", "difference_high", "p_better"),
    *("state", "complete", "train_s", "tags", "note"),
)
TRIAL_COLUMNS = ("number", "state", "value", "duration_s", "error", "tags", "note")


def compare(arguments: argparse.Namespace, location: Location) -> int:
    """`compare [NAME...]`: studies ranked where they may be; 5 if they can't all be."""
    _one_form(arguments)
    with looking(location) as reader:
        pairs = _pairs(reader, arguments.names)
        groups = group_comparable(pairs)
        params = {
            s.study_id: reader.best_params(s.study_id, s.best.number) if s.best else {}
            for _, s in pairs
        }

        def params_of(study: Study) -> dict[str, object]:
            return params[study.study_id]

        pinned = None
        if arguments.baseline is not None:
            pinned = _pin(reader, groups, arguments.baseline)
        if arguments.csv or arguments.md or arguments.json:
            only = arguments.only_changed
            rows = export.comparison_rows(groups, params_of, only_changed=only, pinned=pinned)
            if arguments.json:
                print_json(rows)
            else:
                write_table(arguments, rows, COMPARED_COLUMNS)
        else:
            for group in groups:
                print_group(group, params_of, only_changed=arguments.only_changed, pinned=pinned)
    if len(groups) > 1 and arguments.names:
        raise NotComparable(f"{_apart(groups)}, so they are ranked apart.")
    return 0


def _apart(groups: Sequence[Group]) -> str:
    """Why groups can't be ranked together: what differs, and what each of them asks."""
    what = ", ".join(differences(group.rows[0][0] for group in groups))
    questions = "; ".join(group.question for group in groups)
    return f"These answer {len(groups)} different questions ({what} differ): {questions}"


def _pin(reader: Reader, groups: Sequence[Group], name: str) -> Pinned:
    """Everything against the study, ensemble or rule that `name` is, on the held-out rows.

    Raises NotComparable if something to be compared answers another question.
    """
    if len(groups) > 1:
        raise NotComparable(f"{_apart(groups)}; nothing can be held against {name}.")
    group, key = groups[0], _pinned_key(groups[0], name)
    if key is None:
        found = reader.find_studies(name)
        if len(found) != 1:
            raise BadInput(f"--baseline {name} is {len(found)} studies: name one.")
        experiment, study = found[0]
        rows = group.rows if found[0] in group.rows else (*group.rows, (experiment, study))
        together = group_comparable(rows)
        if len(together) > 1:
            raise NotComparable(f"{_apart(together)}; nothing can be held against {name}.")
        group, key, name = together[0], ("study", study.study_id), study.name
    if not any(s.best is not None and s.best.held_out_score is not None for _, s in group.rows):
        talk("note: nothing has a held-out score yet, so there are no differences to show.")
    return pin(reader.location, group, name, key)


def _pinned_key(group: Group, name: str) -> Key | None:
    """The key of one of a group's rows by its short name, or None: then it is a study's name."""
    models = [study.study_id for _, study in group.rows if study.model == name]
    if len(models) == 1:
        return "study", models[0]
    for baseline in group.baselines:
        if name in (baseline.name, f"baseline {baseline.name}"):
            return "baseline", baseline.name
    ensembles = {f"{e.name}/ensemble": e.experiment_id for e, _ in group.ensembles}
    if name == "ensemble" and len(ensembles) == 1:
        return "ensemble", next(iter(ensembles.values()))
    return ("ensemble", ensembles[name]) if name in ensembles else None


def _pairs(reader: Reader, names: list[str]) -> list[tuple[Experiment, Study]]:
    if not names:
        pairs = [(e, s) for e in reader.experiments() for s in e.studies]
        if not pairs:
            raise BadInput("There is nothing to compare yet: start with `hyperion-tui run`.")
        return pairs
    found = {s.study_id: (e, s) for name in names for e, s in reader.find_studies(name)}
    return list(found.values())


def signed(value: float | None) -> str:
    """A difference with its sign, below zero for what got worse."""
    return text.number(value, sign=True)


def print_group(
    group: Group, params_of, *, only_changed: bool, pinned: Pinned | None = None
) -> None:
    """One ranked table of studies that answer the same question; ensembles and baselines below."""
    print(text.clean(f"{group.question}"))
    params = [params_of(study) for _, study in group.rows]
    names = changed_parameters(params) if only_changed else []
    rows: list[list[Any]] = []
    for rank, ((_, study), own) in enumerate(zip(group.rows, params, strict=True), start=1):
        best = study.best
        scores: Scores = (best.selection_score, best.held_out_score) if best else (None, None)
        rows.append(
            [
                *(rank if best else None, study.name, study.state),
                *_scores(scores, study.evidence, group.maximize),
                *_lead(pinned, ("study", study.study_id)),
                f"{study.counts.finished}/{study.counts.goal or '-'}",
                text.duration(study.train_s),
                words.rows_used(study.rows),
                *[text.parameter(own[n]) if n in own else None for n in names],
            ]
        )
    for experiment, ensemble in group.ensembles:
        scores = (ensemble.selection_score, ensemble.held_out_score)
        told = _scores(scores, ensemble.evidence, group.maximize)
        told += _lead(pinned, ("ensemble", experiment.experiment_id))
        number = text.plural(len(ensemble.members), "trial")
        blank = [None, "", *[None for _ in names]]
        rows.append([None, f"{experiment.name}/ensemble", "ensemble", *told, number, *blank])
    for baseline in group.baselines:
        scores = (baseline.selection_score, baseline.held_out_score)
        blank = [None, None, "", *[None for _ in names]]
        told = _scores(scores, None, group.maximize)
        told += _lead(pinned, ("baseline", baseline.name))
        rows.append([None, baseline.name, "baseline", *told, *blank])
    capped = any(study.rows is not None for _, study in group.rows)
    headers = ["", "study", "state", "selection", "95 %", "held-out", "95 %", "gap", "p"]
    headers += [] if pinned is None else ["better", "95 %", "p"]
    headers += ["trials", "time", "rows", *names]
    deflated = agents.deflated([study for _, study in group.rows])
    if deflated:
        headers.append("DSR")
        blank = [text.ABSENT] * (len(rows) - len(deflated))
        rows = [[*row, one] for row, one in zip(rows, [*deflated, *blank], strict=True)]
    if not capped:
        rows_at = headers.index("rows")
        headers.pop(rows_at)
        for row in rows:
            row.pop(rows_at)
    if any(study.tags for _, study in group.rows):
        headers.append("tags")
        tags = [" ".join(study.tags) for _, study in group.rows]
        blank = [""] * (len(rows) - len(tags))
        rows = [[*row, one] for row, one in zip(rows, [*tags, *blank], strict=True)]
    print_table(headers, rows)
    if pinned is not None:
        print(text.clean(f"better: than {pinned.name}, on the same held-out rows"))
    for experiment, ensemble in group.ensembles:
        line = words.ensemble_line(ensemble, experiment.name)
        print(text.clean(f"{experiment.name}/ensemble: {line}"))
    print()


def _lead(pinned: Pinned | None, key: Key) -> list[Any]:
    """How much better than the pinned one, between what bounds, and how surely."""
    if pinned is None:
        return []
    if key == pinned.key:
        return ["pinned", None, None]
    lead = pinned.lead(key)
    if lead is None:
        return [None, None, None]
    bounds = f"{text.number(lead.low, sign=True)}..{text.number(lead.high, sign=True)}"
    return [signed(lead.difference), bounds, words.probability(lead.p)]


Scores = tuple[float | None, float | None]


def _scores(scores: Scores, evidence: Evidence | None, maximize: bool) -> list[Any]:
    """Both scores with their intervals, the gap between them, and the odds of luck."""
    selection, held_out = scores
    return [
        *(selection, words.selection_interval(evidence)),
        *(held_out, words.held_out_interval(evidence)),
        signed(gap(selection, held_out, maximize)),
        words.probability(evidence.p if evidence else None),
    ]
