"""Every page that shows how something is done does it."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from hyperion_tui import actions
from tests.docs.pages import blocks, commands, matches, run_command, run_page

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ("first-study.md", "forecasting.md", "notebooks.md", "own-model.md", "score-card.md")


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_a_page_does_what_it_shows(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_page(DOCS / name) >= 4


@pytest.mark.slow
def test_the_page_about_trading_does_what_it_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed")
    monkeypatch.chdir(tmp_path)
    assert run_page(DOCS / "trading.md") >= 3


def test_a_block_with_the_name_of_a_file_becomes_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    page.write_text("```python\n# mine.py\n1 / 0\n```\n```python\nimport pathlib\n```\n")
    assert run_page(page) == 2
    assert (tmp_path / "mine.py").read_text() == "# mine.py\n1 / 0\n"


def test_blocks_have_their_language_and_line() -> None:
    page = "# A\n```python\nx = 1\n```\ntext\n```console\n$ a b\nc\n$ d\n```\n"
    found = blocks(page)
    assert [(b.language, b.line) for b in found] == [("python", 3), ("console", 7)]
    assert list(commands(found[1].text)) == [("a b", ["c"]), ("d", [])]


def test_a_shown_line_stands_for_itself_but_for_the_dots() -> None:
    assert matches("a [b] 0.93 c*", "a [b] ... c*")
    assert not matches("a b 0.93 c", "a [b] ...")
    assert not matches("xab", "ab")


def test_a_command_that_does_not_do_what_is_shown_fails() -> None:
    run_command("hyperion-tui list", ["Nothing yet in ..."], "here")
    with pytest.raises(AssertionError, match="did not print `something`"):
        run_command("hyperion-tui list", ["something"], "here")
    with pytest.raises(AssertionError, match="No model `nothing`"):
        run_command("hyperion-tui run nothing  # exit 0", [], "here")
    run_command(
        "OPTUNA_TRIALS=no hyperion-tui run ridge  # exit 2", ["...OPTUNA_TRIALS..."], "here"
    )
    with pytest.raises(AssertionError, match="only hyperion-tui is run"):
        run_command("rm -r x", [], "here")


def test_the_page_of_keys_has_every_key_of_the_program() -> None:
    written = runpy.run_path(str(DOCS.parent / "scripts" / "keys.py"), run_name="keys")["page"]()
    assert (DOCS / "keys.md").read_text(encoding="utf-8") == written, "`make keys` writes it anew"
    assert all(f"| {action.description} |" in written for action in actions.ACTIONS)
