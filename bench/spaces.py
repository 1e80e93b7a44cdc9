"""Whether any parameter set that a declared space can hold fails: every sample is trained.

For each form of each model and each of four shapes of data (1 column, 5, 200, and a negative
target or a class of 5 rows; 100 rows, with gaps, codes, a constant column and two equal ones):
1,000 samples drawn at random, each trained on 64 rows with every warning an error, and asked for
the held-out rows. A failure is a sample that raises, warns, or predicts what is not finite. The
tests do the same with 15 samples (tests/contract/test_spaces_are_valid.py).

One JSON a model in the results folder, written after each shape, so a run that was cut off goes
on where it was; a shape is measured again when versions, samples, the model's declaration or its
code have changed, or with `--fresh`. Runs with different `--models` may go side by side. Seconds
are processor time of one thread.

`make bench ONLY=spaces ARGS=--quick` (15 samples), or: python bench/spaces.py [--samples 1000]
[--models NAME...] [--fresh] [--results FOLDER]. Ends with 1 if anything failed.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import _common

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engines.models import catalogue
from tests.contract import spaces
from tests.contract.spaces import SHAPES, Case, Shape

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "spaces"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
LIBRARIES = ("numpy", "scipy", "scikit-learn", "xgboost-cpu", "xgboost", "lightgbm", "catboost")
KEPT = 20
"""Failures of a shape that are written out; all are counted."""


def stamp(case: Case, shape: Shape, samples: int) -> dict[str, Any]:
    """What a result depends on, as plain data."""
    return {
        "samples": samples,
        "versions": versions(),
        "space": case.form.space.bind(spaces.facts(shape, case)).to_json(),
        "source": source_hash(case),
    }


def versions() -> dict[str, str]:
    """Of the libraries that train."""
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def source_hash(case: Case) -> str:
    """What is built and how, and the code that takes part: the checks, and ours for the model."""
    form = case.form
    digest = hashlib.blake2b(digest_size=8)
    digest.update(repr((form.build, form.fixed, form.columns, form.most_rows)).encode())
    used = {Path(spaces.__file__)}
    follow("engines.models.fit", used)
    follow(form.build.partition(":")[0], used)
    for file in sorted(used):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def follow(module: str, used: set[Path]) -> None:
    """Add a module of `engines.models`, and those of it that it imports, to `used`."""
    file = ROOT / f"{module.replace('.', '/')}.py"
    if not module.startswith("engines.models.") or file in used or not file.exists():
        return
    used.add(file)
    for name in re.findall(r"^from (engines\.models\.[\w.]+) import", file.read_text(), re.M):
        follow(name, used)


def measure(case: Case, shape: Shape, samples: int) -> dict[str, Any]:
    """Train every sample of a space on a shape."""
    refusal = case.form.refusal(spaces.facts(shape, case))
    if refusal is not None:
        return {"refused": refusal}
    failures: list[dict[str, Any]] = []
    slowest, slowest_params = 0.0, None
    begun = time.process_time()
    for params in spaces.samples(case, shape, samples):
        before = time.process_time()
        try:
            spaces.check_arguments(case, params)
            spaces.check_fit(case, shape, params)
        except Exception as error:
            failures.append({"params": params, "error": f"{type(error).__name__}: {error}"[:500]})
        spent = time.process_time() - before
        if spent > slowest:
            slowest, slowest_params = spent, params
    return {
        "tried": samples,
        "failed": len(failures),
        "failures": failures[:KEPT],
        "seconds": round(time.process_time() - begun, 2),
        "slowest_s": round(slowest, 3),
        "slowest": slowest_params,
    }


Cell = tuple[Case, Shape, dict[str, Any]]


def run_model(name: str, options: argparse.Namespace) -> Iterator[Cell]:
    """Every cell of a model, measured now or kept from before."""
    path = options.results / f"{name}.json"
    document = {} if options.fresh else _read(path)
    cells = dict(document.get("cells", {}))
    for case in [case for case in spaces.cases() if case.model == name]:
        for shape in SHAPES:
            key, now = f"{case.task}/{shape.name}", stamp(case, shape, options.samples)
            known = cells.get(key)
            if known is None or known["stamp"] != now:
                known = {"stamp": now, "result": measure(case, shape, options.samples)}
                cells[key] = known
                _write(path, {"model": name, "machine": _common.machine(), "cells": cells})
            yield case, shape, known["result"]


def _write(path: Path, document: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    partial.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def summarise(name: str, options: argparse.Namespace) -> tuple[int, tuple[Any, ...]]:
    """How many samples of a model failed, and its line; failures are told as they come."""
    tried, failed, seconds, slowest = 0, 0, 0.0, 0.0
    refused: list[str] = []
    for case, shape, result in run_model(name, options):
        where = f"{case.task}, {shape.name}"
        if "refused" in result:
            refused.append(where)
            continue
        tried, failed = tried + result["tried"], failed + result["failed"]
        seconds, slowest = seconds + result["seconds"], max(slowest, result["slowest_s"])
        kinds = Counter(failure["error"][:150] for failure in result["failures"])
        for error, count in kinds.most_common():
            print(f"    {name}, {where}: {count} x {error}", file=sys.stderr)
    print(f"{name}: {tried:,} tried, {failed} failed, {seconds:.0f} s", file=sys.stderr)
    return failed, (name, tried, failed, seconds, slowest, "; ".join(refused) or "-")


def main() -> int:
    """Run the cells that are missing, and print a line a model."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--models", nargs="+", metavar="NAME", default=list(catalogue.models()))
    parser.add_argument("--fresh", action="store_true", help="measure again what was measured")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the JSON files lie")
    parser.add_argument("--quick", action="store_true", help="15 samples, kept in build/bench")
    options = parser.parse_args()
    if options.quick:
        options.samples, options.results = 15, ROOT / "build" / "bench" / "spaces"
    rows: list[tuple[Any, ...]] = []
    failed = 0
    for name in [catalogue.find(word).name for word in options.models]:
        missing = catalogue.models()[name].reason_missing
        if missing is not None:
            rows.append((name, None, None, None, None, missing))
            continue
        lost, row = summarise(name, options)
        failed += lost
        rows.append(row)
    _common.print_table(("model", "tried", "failed", "cpu s", "slowest s", "greyed on"), rows)
    return 1 if failed else 0


if __name__ == "__main__":
    if any(os.environ.get(name) != "1" for name in THREADS):
        # Read once, when the libraries are loaded: too late in this process.
        os.execve(
            sys.executable,
            [sys.executable, *sys.argv],
            os.environ | dict.fromkeys(THREADS, "1"),
        )
    sys.exit(main())
