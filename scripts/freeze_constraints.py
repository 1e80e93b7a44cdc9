"""Writes constraints.txt: the exact versions that a fresh environment gets today.

Run it by `make constraints`, with the oldest Python that Hyperion supports, because some
libraries offer newer versions to newer interpreters only. It installs `.[all,dev]` into a
temporary environment, freezes it, and writes one `name==version` a line, sorted. It does
not run the tests: do that before you commit the result.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Held back by hand. torch: its CPU and GPU builds are compared at this version.
HELD = ["torch==2.13.0"]

# The build for GPUs brings these along, and pins them itself.
FOREIGN = re.compile(r"(nvidia-|cuda-|triton$)")

# Two distributions of the same folder `xgboost`: see pyproject.toml.
XGBOOST = "xgboost-cpu"
MARKED = {
    XGBOOST: [
        "xgboost-cpu=={version}; sys_platform != 'darwin'",
        "xgboost=={version}; sys_platform == 'darwin'",
    ]
}


def lines_of(frozen: str) -> list[str]:
    """The lines of the file for the output of `pip freeze`.

    Leaves out our own package and the libraries of a GPU build; a local version such as
    `+cpu` is cut off, so that any build of that version satisfies the line.
    """
    lines: list[str] = []
    for line in frozen.splitlines():
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==([^+\s]+)(?:\+\S+)?", line.strip())
        if match is None:
            if re.match(r"(-e |#|hyperion[-_]tui\b)", line):
                continue
            raise SystemExit(f"freeze_constraints: can't read this line of pip freeze: {line}")
        name = re.sub(r"[-_.]+", "-", match[1]).lower()
        if FOREIGN.match(name) or name == "hyperion-tui":
            continue
        templates = MARKED.get(name, [f"{name}=={{version}}"])
        lines += [template.format(version=match[2]) for template in templates]
    return sorted(lines)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="hyperion-constraints-") as folder:
        venv.create(folder, with_pip=True)
        python = str(Path(folder, "bin", "python"))
        install = [python, "-m", "pip", "install", "--quiet", "-e", f"{ROOT}[all,dev]", *HELD]
        subprocess.run(install, check=True)
        subprocess.run([python, "-m", "pip", "check"], check=True)
        freeze = [python, "-m", "pip", "freeze", "--exclude", "hyperion-tui"]
        frozen = subprocess.run(freeze, check=True, capture_output=True, text=True).stdout
    lines = lines_of(frozen)
    (ROOT / "constraints.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"constraints.txt: {len(lines)} lines, Python {sys.version.split()[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
