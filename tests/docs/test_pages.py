"""Every page that shows how something is done does it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.pages import blocks, commands, matches, run_command, run_page

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ("first-study.md", "notebooks.md")


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_a_page_does_what_it_shows(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_page(DOCS / name) >= 4


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
    with pytest.raises(AssertionError, match="only hyperion-tui is run"):
        run_command("rm -r x", [], "here")
