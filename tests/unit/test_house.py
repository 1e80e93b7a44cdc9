"""The rules of the house: one version, three packages in the wheel, arrows that point down."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("hyperion_tui", "engines", "simulator")
HEAVY = {
    *("numpy", "pandas", "optuna", "sqlalchemy", "textual"),
    *("sklearn", "torch", "xgboost", "lightgbm", "catboost", "flaml", "stable_baselines3"),
}


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def in_a_fresh_interpreter(code: str) -> str:
    """What `code` prints in a new process, where no other test has imported anything."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_three_packages_say_one_version(project):
    versions = {
        package: in_a_fresh_interpreter(f"import {package}; print({package}.__version__)")
        for package in PACKAGES
    }

    assert set(versions.values()) == {versions["hyperion_tui"]}
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.?(dev|a|b|rc)\d+)?", versions["hyperion_tui"])
    assert project["tool"]["hatch"]["version"]["path"] == "hyperion_tui/__init__.py"
    assert "version" in project["project"]["dynamic"]


def test_the_wheel_lists_the_three_packages_and_no_more(project):
    listed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]

    assert sorted(listed) == sorted(PACKAGES)


def test_the_tested_versions_lie_within_the_declared_bounds(project):
    requirements = pytest.importorskip("packaging.requirements")
    tested = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        requirement = requirements.Requirement(line)
        (pin,) = requirement.specifier
        assert pin.operator == "==", line
        tested[requirement.name] = pin.version

    declared = list(project["project"]["dependencies"])
    for extra in project["project"]["optional-dependencies"].values():
        declared += extra
    for text in declared:
        requirement = requirements.Requirement(text)
        if requirement.name == "hyperion-tui":
            continue
        assert requirement.specifier.contains(tested[requirement.name]), text


def test_imports_point_down():
    program = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    assert program is not None, "import-linter is missing: pip install -e '.[dev]'"

    done = subprocess.run(
        [program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_loads_nothing_heavy(package):
    loaded = set(in_a_fresh_interpreter(f"import sys, {package}; print(*sys.modules)").split())

    assert package in loaded
    assert loaded & HEAVY == set()


def files_of_the_project() -> list[Path]:
    """What git tracks or would track. Skips where there is no repository, as in a tarball."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git repository")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_holds_a_path_of_this_machine():
    # A folder of one part, such as `/app`, says nothing about a machine.
    places = [p for p in (ROOT, Path.home()) if len(p.parts) > 2 or p == Path.home()]
    here = re.compile(
        rb"(?<![\w.~-])("
        + b"|".join(re.escape(os.fsencode(p)) for p in places)
        + rb")(?=[/\"'\s]|$)"
    )

    found = [
        f"{path.relative_to(ROOT)}: {match[0].decode()}"
        for path in files_of_the_project()
        if (match := here.search(path.read_bytes()))
    ]

    assert found == []


def test_every_file_says_what_it_is_for():
    silent = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]

    assert silent == []
