"""Spaces of people's own: what is narrowed, and every problem told before trial 0."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.errors import BadInput, NotComparable
from engines.models import catalogue, spacefile
from engines.run import objective, start
from engines.search.space import Choice, Float, Int, Space
from engines.study.location import Location
from hyperion_tui import cli
from tests.unit.building import asking

GOOD = """
[ridge.alpha]
low = 0.5
high = 2

[svr]
kernel = { choices = ["rbf", "poly"] }
gamma = { value = 0.25, when = { kernel = ["rbf"] } }
"""


def problems(text: str, tmp_path: Path) -> list[str]:
    path = tmp_path / "space.toml"
    path.write_text(text)
    return [str(problem) for problem in spacefile.check(path)]


def loaded(text: str, tmp_path: Path) -> spacefile.SpaceFile:
    (tmp_path / "space.toml").write_text(text)
    return spacefile.load(tmp_path / "space.toml")


def test_what_is_said_takes_the_place_of_what_is_declared_and_the_rest_stays(
    tmp_path: Path,
) -> None:
    file = loaded(GOOD, tmp_path)
    ridge, svr = catalogue.find("ridge"), catalogue.find("svr")
    declared = ridge.form("regression").space.parameters["alpha"]
    assert isinstance(declared, Float)

    alpha = file.space("ridge", ridge.form("regression")).parameters["alpha"]
    found = file.space("svr", svr.form("regression")).parameters

    assert alpha == Float(0.5, 2.0, log=declared.log)
    assert found["kernel"] == Choice(("rbf", "poly"))
    assert found["gamma"] == Choice((0.25,), when={"kernel": ("rbf",)})
    assert found["C"] == svr.form("regression").space.parameters["C"]
    lasso = catalogue.find("lasso")
    assert file.space("lasso", lasso.form("regression")) == lasso.form("regression").space


def test_a_choice_of_none_is_written_as_a_word(tmp_path: Path) -> None:
    with_none = [
        (spec, name, parameter)
        for spec in catalogue.models().values()
        if spec.does("regression")
        for name, parameter in spec.form("regression").space.parameters.items()
        if isinstance(parameter, Choice) and None in parameter.values and not spec.sequential
    ]
    for spec, name, _ in with_none:
        file = loaded(f'[{spec.name}."{name}"]\nchoices = ["none"]', tmp_path)
        assert file.space(spec.name, spec.form("regression")).parameters[name].values == (None,)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[xgbost.max_depth]\nlow = 1", "xgbost: No model `xgbost`: did you mean xgboost"),
        ("[ridge.alfa]\nlow = 1", "ridge.alfa: no such parameter: did you mean alpha?"),
        ("[ridge.alpha]\nlow = 3\nhigh = 1", "ridge.alpha: lower bound 3.0 is above upper"),
        ("[ridge.alpha]\nlow = 0\nlog = true", "must start above 0, not at 0.0"),
        ("[ridge.alpha]\nlow = nan", "ridge.alpha: `low` must be finite, not nan"),
        ("[ridge.alpha]\nhigh = inf", "ridge.alpha: `high` must be finite, not inf"),
        ('[ridge.alpha]\nlow = "1"', "ridge.alpha: `low` must be a number, not '1'"),
        ("[ridge.alpha]\nlow = true", "ridge.alpha: `low` must be a number, not True"),
        ("[ridge.alpha]\nhgih = 1", "ridge.alpha: `hgih` is unknown: did you mean high?"),
        ("[ridge.alpha]\nchoices = []", "must be a list of one value or more"),
        ("[ridge.alpha]\nchoices = [1, nan]", "ridge.alpha: nan is not finite"),
        ("[ridge.alpha]\nchoices = [1, 1.0]", "ridge.alpha: a choice is there twice"),
        ("[ridge.alpha]\nvalue = 1\nlow = 1", "ridge.alpha: value and low exclude each other"),
        ("[ridge]\nalpha = 1", "ridge.alpha: must be a table of low, high"),
        ("ridge = 1", "ridge: must be a table of parameters"),
        ('[svr.kernel]\nchoices = ["rfb"]', "none of rbf, linear, poly, sigmoid: did you mean rbf"),
        ("[svr.kernel]\nlow = 1", "narrow it by `choices`"),
        ("[xgboost.max_depth]\nlow = 2.5", "`low` must be a whole number, not 2.5"),
        ("[xgboost.learning_rate]\nstep = 1", "only whole numbers have steps"),
        ('[svr.degree]\nwhen = { kernl = ["poly"] }', "no parameter `kernl` before it: did you"),
        ('[svr.degree]\nwhen = { kernel = ["pony"] }', "`kernel` is never 'pony'"),
        ("[ridge.alpha]\nlow = 1\n[Ridge.alpha]\nlow = 2", "the same model as ridge"),
        ("[flaml.learner]\nvalue = 'rf'", "flaml: chooses its own parameters"),
        ("", "the file: says nothing"),
    ],
)
def test_what_is_wrong_is_told_with_what_would_be_right(
    text: str, told: str, tmp_path: Path
) -> None:
    found = problems(text, tmp_path)

    assert len(found) == 1
    assert told in found[0]


def test_all_problems_are_told_and_run_says_how_many(tmp_path: Path) -> None:
    text = "[ridge.alpha]\nlow = nan\n[svr.C]\nlow = nan\n[lasso.alpha]\nlow = nan"

    assert len(problems(text, tmp_path)) == 3
    with pytest.raises(BadInput, match=r"ridge\.alpha: .* \(and 2 more: hyperion-tui check "):
        loaded(text, tmp_path)


def test_a_file_that_is_no_toml_is_refused_with_the_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is no TOML: .*line 2"):
        problems("[ridge.alpha]\nlow = \nhigh = 1", tmp_path)
    with pytest.raises(BadInput, match="can't be read: No such file"):
        spacefile.check(tmp_path / "none.toml")


# -- experiments -----------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "table.csv"
    path.write_text("size,price\n" + "".join(f"{i},{i**0.5}\n" for i in range(40)))
    return str(path)


def test_an_experiment_is_searched_in_the_space_of_the_file(
    location: Location, table: str, tmp_path: Path
) -> None:
    path = tmp_path / "space.toml"
    path.write_text("[ridge.alpha]\nlow = 77\nhigh = 78\n[svr.kernel]\nvalue = 'poly'")
    request = start.Request(("ridge", "svr"), data=table, space=str(path), name="e")

    with asking(location) as reader:
        experiment = reader.experiment(start.create(location, request))
        spaces = [Space.from_json(reader.space(s.study_id)) for s in experiment.studies]

    assert spaces[0].parameters["alpha"] == Float(77.0, 78.0, log=True)
    assert spaces[1].parameters["kernel"] == Choice(("poly",))
    form = catalogue.find("svr").form("regression")
    for params in (form.defaults, *form.portfolio):
        assert spaces[1].contains(spaces[1].clip(params))
    with pytest.raises(NotComparable, match="space"):
        start.create(location, start.Request(("ridge",), data=table, name="e"))


def test_a_file_about_other_models_is_refused(
    location: Location, table: str, tmp_path: Path
) -> None:
    path = tmp_path / "space.toml"
    path.write_text("[ridge.alpha]\nlow = 77\nhigh = 78")

    with pytest.raises(BadInput, match="about ridge, and none of them is asked for"):
        start.create(location, start.Request(("lasso",), data=table, space=str(path)))


def test_clipping_fills_in_what_is_missing_and_replaces_what_is_no_choice() -> None:
    space = Space(
        {
            "kind": Choice(("b", "c")),
            "size": Float(1.0, 100.0, log=True),
            "even": Int(2, 10, step=2),
            "only": Int(1, 5, when={"kind": ("b",)}),
        }
    )

    clipped = space.clip({"kind": "a", "even": 7})

    assert clipped == {"kind": "b", "size": pytest.approx(10.0), "even": 6, "only": 3}
    assert space.contains(clipped)


# -- objectives, and the command -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def f(): pass", r"line 1: `f` must take one argument, the trial; it takes \(\)"),
        ("def f(trial, data): pass", r"it takes \(trial, data\)"),
        ("def f(trial, *, data): pass", r"it takes \(trial, \*, data\)"),
        ("async def f(trial): pass", "is async"),
        ("def g(trial): pass", "defines no `f`"),
    ],
)
def test_an_objective_that_can_not_be_called_is_refused_without_being_run(
    code: str, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"{code}\nraise SystemExit('was run')")

    with pytest.raises(BadInput, match=told):
        objective.describe(f"{path}:f")


@pytest.mark.parametrize(
    "code",
    [
        "def f(trial): pass",
        "def f(trial, data=None, *, more=1): pass",
        "def f(*all): pass",
        "import functools\nf = functools.partial(print)",
        "import functools\n@functools.cache\ndef f(): pass",
        "def f(): pass\ndef f(trial): pass",
    ],
)
def test_an_objective_that_may_take_a_trial_is_let_through(code: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(code)

    assert objective.describe(f"{tmp_path / 'mine.py'}:f")["function"] == "f"


def test_check_tells_every_problem_and_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "space.toml"
    path.write_text('[ridge.alpha]\nlow = nan\n["\\u001b[31mred".x]\nlow = 1')
    assert cli.main(["check", str(path)]) == 2
    told = capsys.readouterr().out
    assert len(told.splitlines()) == 2
    assert "\x1b" not in told

    path.write_text("[ridge.alpha]\nlow = 0.1")
    assert cli.main(["check", str(path)]) == 0
    assert "can be used" in capsys.readouterr().out


def test_check_looks_at_objectives_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def f(trial): pass\ndef g(): pass\nraise SystemExit('was run')")

    assert cli.main(["check", f"{path}:f"]) == 0
    assert cli.main(["check", f"{path}:g"]) == 2
    assert cli.main(["check", str(path)]) == 2
    assert "name the function in it too" in capsys.readouterr().out
