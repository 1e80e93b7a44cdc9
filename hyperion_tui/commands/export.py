"""`export` and `predict`: the best model taken home, and used there.

Both start a process that loads the libraries; this one never does.
"""

from __future__ import annotations

import argparse
import shlex
from typing import Any

from engines.analysis.export import to_csv
from engines.errors import BadInput
from engines.export.card import differs_from_record
from engines.export.launch import ask
from engines.files import typed_path
from engines.study.location import Location
from hyperion_tui import text
from hyperion_tui.commands.show import write_rows
from hyperion_tui.output import print_json, talk


def export(arguments: argparse.Namespace, location: Location) -> int:
    """`export STUDY --to DIR`: write the best predictor with its card."""
    to = typed_path(arguments.to)
    request = {
        "command": "export",
        "name": arguments.study,
        "to": str(to),
        "force": arguments.force,
        "refit": arguments.refit == "all",
    }
    card = ask(location, request, talk)
    if arguments.json:
        print_json({"to": str(to), **card})
        return 0
    for line in _about(card):
        talk(line)
    command = f"hyperion-tui predict {shlex.quote(str(to))} DATA.csv"
    talk(f"written to {to}: {command}, or see CARD.md there")
    return 0


def _about(card: dict[str, Any]) -> list[str]:
    scores, metric = card["scores"], card["metric"]
    lines = [f"{card['predictor']}: {card['how']}"]
    told = f"{metric} {text.number(scores['selection'])} in selection"
    if scores["held_out"] is not None:
        told += f", {text.number(scores['held_out'])} held out"
    lines.append(told)
    if card["refit_on_all_rows"]:
        lines.append(
            "note: trained on all rows, those held out among them; the held-out score is that of "
            "the predictor before."
        )
    if differs_from_record(card):
        again = text.number(scores["held_out_again"])
        before = text.number(scores["held_out_of_this"])
        lines.append(
            f"note: read back it scores {again} on the held-out rows, not {before} as on "
            "record: the card says so."
        )
    lines.append(f"formats: {', '.join(card['formats'])}; reading them runs no code")
    return lines


def predict(arguments: argparse.Namespace, location: Location) -> int:
    """`predict DIR DATA`: a prediction for each row, as CSV on stdout, a file, or JSON."""
    if arguments.json and arguments.out:
        raise BadInput("--out writes CSV and --json prints: choose one.")
    out = None if arguments.out in (None, "-") else typed_path(arguments.out)
    if out is not None and out.exists() and not arguments.force:
        raise BadInput(f"{out} exists: name another file, or add --force to replace it.")
    folder, data = str(typed_path(arguments.folder)), str(typed_path(arguments.data))
    found = ask(location, {"command": "predict", "folder": folder, "data": data}, talk)
    for notice in found["notices"]:
        talk(f"note: {notice}")
    if arguments.json:
        print_json({name: value for name, value in found.items() if name != "notices"})
        return 0
    rows = _rows(found)
    return write_rows(arguments.out or "-", to_csv(rows), len(rows), force=arguments.force)


def _rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    if found["horizon"]:
        return [
            {"row": number, **{f"ahead_{step}": value for step, value in enumerate(row, start=1)}}
            for number, row in enumerate(found["predictions"], start=1)
        ]
    shares = found["probabilities"] or [[]] * len(found["predictions"])
    return [
        {
            "row": number,
            "prediction": predicted,
            **{f"p_{name}": p for name, p in zip(found["classes"], row, strict=True)},
        }
        for number, (predicted, row) in enumerate(
            zip(found["predictions"], shares, strict=True), start=1
        )
    ]
