"""The person's own settings: what a file may say, and what wins over it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.errors import BadInput
from hyperion_tui import cli, config

Write = Callable[[str], Path]


@pytest.fixture
def write(own_home: Path) -> Write:
    """Puts a text where the settings are looked for."""

    def put(text: str) -> Path:
        file = config.path()
        assert file.is_relative_to(own_home)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    return put


def test_without_a_file_every_setting_is_a_default(own_home: Path):
    assert {s.origin for s in config.effective()} == {"default"}
    assert config.setting("workers") is None
    assert not own_home.exists()


def test_a_flag_wins_over_the_environment_and_that_over_the_file(
    write: Write, monkeypatch: pytest.MonkeyPatch
):
    file = write("trials = 4\nworkers = 3\n")
    origins = {s.name: (s.value, s.origin) for s in config.effective()}
    assert origins["trials"] == (4, str(file))
    assert config.setting("trials") == 4

    monkeypatch.setenv("OPTUNA_TRIALS", "7")
    origins = {s.name: (s.value, s.origin) for s in config.effective()}
    assert origins["trials"] == (7, "environment OPTUNA_TRIALS")
    assert origins["workers"] == (3, str(file))
    assert config.setting("trials") == 7
    assert config.setting("trials", 9) == 9


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("worker = 3", "unknown setting `worker`: did you mean workers?"),
        (
            "zzz = 3",
            "unknown setting `zzz`: known are data, workers, trials, theme, notify, signs, keys.",
        ),
        ('workers = "3"', "workers is a whole number, not '3'."),
        ("workers = true", "workers is a whole number, not true or false."),
        ("trials = 0", "trials: 0 is not a whole number from 1 to 1,000,000."),
        ("data = 3", 'data is a text, as in "...", not 3.'),
        ('data = "\\u001b[31m"', "data: '\\x1b[31m' is no name or path."),
        ('theme = "pink"', "theme: `pink` is none of hyperion-dark, "),
        ('notify = "yes"', "notify: `yes` is none of off, bell, desktop"),
        ("keys = 3", "keys is a table"),
        ('[keys]\npauze = "P"', "there is no action `pauze`: did you mean pause?"),
        ("[keys]\npause = 3", 'keys.pause is a text, as in "P", not 3.'),
        ('[keys]\npause = "hello"', "keys.pause: `hello` is no key: give a sign such as P"),
        ('[keys]\npause = "ctrl+c"', "keys.pause: ctrl+c leaves the app, always."),
        ('[keys]\npause = "u"', "keys: `u` would be both pause and resume."),
        ("trials = ", "is no TOML: "),
        ("trials = 4\ntrials = 5", "is no TOML: "),
    ],
)
def test_what_can_not_be_used_is_told_in_one_line_with_the_file(
    text: str, told: str, write: Write, capfd: pytest.CaptureFixture[str]
):
    file = write(text)

    assert cli.main(["config", "show"]) == 2

    out, error = capfd.readouterr()
    assert out == ""
    assert error.startswith(f"hyperion-tui: {file}")
    assert told in error
    assert len(error.splitlines()) == 1
    assert "\x1b" not in error


def test_a_file_that_is_no_text_or_a_folder_is_told(write: Write):
    write("").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadInput, match="is no TOML"):
        config.load()
    config.path().unlink()
    config.path().mkdir()
    with pytest.raises(BadInput, match="Is a directory"):
        config.load()


def test_two_actions_may_swap_their_keys(write: Write, capfd: pytest.CaptureFixture[str]):
    write('[keys]\npause = "u"\nresume = "p"\n')

    assert cli.main(["config", "show", "--json", "--origin"]) == 0

    shown = {s["name"]: s["value"] for s in json.loads(capfd.readouterr().out)}
    assert (shown["keys.pause"], shown["keys.resume"]) == ("u", "p")


def test_a_run_learns_from_the_data_of_the_settings(
    write: Write, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    write('data = "no-such-data"\n')
    assert cli.main(["run", "ridge"]) == 2
    assert "no-such-data" in capfd.readouterr().err

    (tmp_path / "mine.py").write_text("def f(trial):\n    raise SystemExit(3)\n")
    monkeypatch.chdir(tmp_path)
    cli.main(["run", "mine.py:g"])
    assert "no-such-data" not in capfd.readouterr().err
