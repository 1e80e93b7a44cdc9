"""Installs the built wheel where nothing else is, and starts it from `/`.

    python scripts/check_wheel.py DIST [--without-install]

Three packages with common names travel in one wheel, which can go wrong in ways that an
editable install hides: a package or a data file left out, the tests taken along, the
program found only in the repository's folder. So this looks into the wheel, installs it
with constraints.txt but without extras, changes to `/`, and does what a person does first.
One line a check; the first failure ends it with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("engines", "hyperion_tui", "simulator")

# Files that are no Python: left out of the wheel they would be missed at run time only.
DATA_SUFFIXES = {".tcss", ".csv", ".md", ".toml", ".sql", ".json", ".txt", ".typed"}


def fail(message: str) -> NoReturn:
    print(f"FAILED  {message}", file=sys.stderr)
    sys.exit(1)


def expected_files() -> set[str]:
    """Every file of the three packages in the working tree that belongs into the wheel."""
    return {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix in DATA_SUFFIXES | {".py"}
    }


def check_contents(wheel: Path) -> None:
    """The wheel holds the three packages whole, and nothing beside them."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    if tops != set(PACKAGES):
        fail(f"{wheel.name} holds {sorted(tops)}, expected {sorted(PACKAGES)}")
    missing = sorted(expected_files() - names)
    if missing:
        fail(f"{wheel.name} lacks {', '.join(missing)}")
    kinds = sorted({Path(name).suffix for name in names if ".dist-info/" not in name})
    print(f"ok      {wheel.name}: {len(names)} files ({' '.join(kinds)}), three packages")


class Clean:
    """A fresh environment, a home of its own, and `/` as the working directory."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "venv" / "bin"
        self.home = folder / "home"
        self.home.mkdir()
        # Only what a program needs to run: no PYTHONPATH, nothing of the caller's Hyperion.
        kept = {"PATH", "LANG", "LC_ALL", "TERM", "TMPDIR", "SSL_CERT_FILE"}
        pip_settings = {k: v for k, v in os.environ.items() if k.startswith("PIP_")}
        self.environment = {k: v for k, v in os.environ.items() if k in kept} | pip_settings
        self.environment |= {"HOME": str(self.home), "HYPERION_HOME": str(self.home / "hyperion")}

    def install(self, wheel: Path) -> None:
        venv.create(self.bin.parent, with_pip=True)
        pip = [str(self.bin / "python"), "-m", "pip", "--disable-pip-version-check"]
        begun = time.monotonic()
        command = [*pip, "install", "--quiet", "-c", str(ROOT / "constraints.txt"), str(wheel)]
        if subprocess.run(command, cwd="/", check=False).returncode:
            fail(f"pip could not install {wheel.name}")
        subprocess.run([*pip, "check"], cwd="/", check=True, stdout=subprocess.DEVNULL)
        print(f"ok      installed without extras in {time.monotonic() - begun:.0f} s")

    def run(self, *words: str, code: int = 0, timeout_s: float = 300) -> str:
        """Standard output of a program of the environment, started in `/`."""
        shown = " ".join(words)
        begun = time.monotonic()
        try:
            done = subprocess.run(
                [str(self.bin / words[0]), *words[1:]],
                cwd="/",
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            fail(f"{shown}: still running after {timeout_s:.0f} s")
        if done.returncode != code:
            fail(
                f"{shown}: exit code {done.returncode}, expected {code}\n"
                f"--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}"
            )
        print(f"ok      {shown} ({time.monotonic() - begun:.1f} s)")
        return done.stdout

    def json(self, *words: str) -> Any:
        out = self.run(*words)
        try:
            return json.loads(out)
        except ValueError:
            fail(f"{' '.join(words)}: standard output is not JSON:\n{out}")


def check_program(clean: Clean, version: str) -> None:
    """What a person does first, without a terminal."""
    help_text = clean.run("hyperion-tui", "--help")
    if "run" not in help_text or "resume" not in help_text:
        fail(f"--help names no commands:\n{help_text}")
    if version not in clean.run("hyperion-tui", "--version"):
        fail(f"--version does not say {version}")

    entries = clean.json("hyperion-tui", "capabilities", "--json")
    available = {entry["model"]: entry["available"] for entry in entries}
    for model in ("ridge", "random_forest", "lightgbm", "xgboost"):
        if available.get(model) is not True:
            fail(f"capabilities: {model} should be available, got {available.get(model)}")
    # Without extras these are listed, greyed, with a reason.
    for entry in entries:
        if entry["model"] == "catboost" and (entry["available"] or not entry["reason"]):
            fail(f"capabilities: catboost is not installed, got {entry}")

    store = str(clean.home / "s.db")
    words = ("run", "ridge", "--data", "diabetes", "--trials", "3", "--store", store, "--json")
    result = clean.json("hyperion-tui", *words)
    if result["state"] != "done":
        fail(f"run: state is {result['state']}, expected done")
    (study,) = result["studies"]
    if study["model"] != "ridge" or study["trials"]["complete"] != 3:
        fail(f"run: expected three complete trials of ridge, got {study}")
    if not 0.2 < study["best"]["held_out_score"] < 0.8:
        fail(f"run: ridge on diabetes should hold about 0.45, got {study['best']}")
    print(f"ok      ridge on diabetes: held-out {study['best']['held_out_score']:.3f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dist", type=Path, help="the folder with the one wheel")
    parser.add_argument("--without-install", action="store_true", help="look inside it only")
    arguments = parser.parse_args()
    wheels = sorted(arguments.dist.resolve().glob("*.whl"))
    if len(wheels) != 1:
        fail(f"{arguments.dist} holds {len(wheels)} wheels, expected one")

    check_contents(wheels[0])
    if arguments.without_install:
        return 0
    with tempfile.TemporaryDirectory(prefix="hyperion-wheel-") as folder:
        clean = Clean(Path(folder))
        clean.install(wheels[0])
        places = clean.run(
            "python",
            "-c",
            "import engines, hyperion_tui, simulator; "
            "print(*(m.__file__ for m in (engines, hyperion_tui, simulator)), sep='\\n')",
        ).split()
        if not all(Path(place).is_relative_to(folder) for place in places):
            fail(f"imported from outside the environment: {places}")
        check_program(clean, wheels[0].name.split("-")[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
