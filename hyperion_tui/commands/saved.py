"""Saved agents: the policy that a folder holds, or that a study has chosen."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from engines.errors import BadInput
from engines.export.document import FILE
from engines.files import typed_path
from engines.study.location import Location
from engines.study.reader import Reader
from hyperion_tui.output import talk

if TYPE_CHECKING:
    from engines.models.rl_agents.policy import AgentPolicy

CARD = "policy.json"


def find_agent(named: str, location: Location) -> AgentPolicy | None:
    """The agent of a folder, exported or kept, or of a study; None if `named` is neither.

    Of a study it is that of its best trial, and of the seed whose score was the median one. Raises
    BadInput for a folder without an agent, or a study that has kept none.
    """
    folder = typed_path(named)
    if (folder / FILE).is_file():
        return _exported(folder)
    if not folder.is_dir():
        found = _of_study(named, location) if location.may_exist else None
        if found is None:
            return None
        folder = found
    from engines.models.rl_agents.policy import AgentPolicy

    return AgentPolicy.load(folder)


def _exported(folder: Path) -> AgentPolicy:
    from engines.export.agent import ExportedAgent

    agent = ExportedAgent.load(folder)
    for notice in agent.notices:
        talk(f"note: {notice}")
    _warn(str(folder), agent.known.begins[-1], agent.known.data)
    return agent.policy


def _warn(what: str, bars: int, data: str) -> None:
    talk(
        f"note: {what} was trained and chosen on bars of {data} before bar {bars + 1:,}, where its "
        "test period begins: what it earns there is no evidence"
    )


def _of_study(named: str, location: Location) -> Path | None:
    """The folder of a study's policy, None for a name without `/`. BadInput if there is none."""
    if "/" not in named:
        return None
    with contextlib.closing(Reader(location)) as reader:
        found = reader.find_studies(named)
        if len(found) > 1:
            raise BadInput(f"`{named}` is {len(found)} studies: name one.")
        experiment, study = found[0]
        if experiment.task != "trading" or study.best is None:
            raise BadInput(f"{study.name} has no agent that could trade: name one that has.")
        detail = reader.trial(study.study_id, study.best.number)
    if (data := experiment.dataset) is not None:
        test = (experiment.split or {}).get("held_out_rows", 0)
        _warn(study.name, data.rows - test, data.name)
    kept = location.artefacts(experiment.experiment_id) / str(study.study_id)
    folder = kept / str(study.best.number) / f"seed-{detail.metrics.get('median_seed', 0)}"
    if not (folder / CARD).exists():
        raise BadInput(
            f"The agent of {study.name} is not kept here ({folder}): it was trained on another "
            "machine, or there was no room for it."
        )
    return folder
