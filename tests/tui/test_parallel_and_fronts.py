"""Parallel coordinates and Pareto fronts: pictures whose marks need no colour, and the same said
in words."""

from __future__ import annotations

import math

import pytest

from hyperion_tui.charting import Compromises
from hyperion_tui.parallel import BEST, OTHERS, Tried, parallel_of
from hyperion_tui.widgets.front import front_lines
from hyperion_tui.widgets.parallel import parallel_lines
from tests.tui.driving import sitting
from tests.tui.stores import Store


def words(lines) -> list[str]:
    return ["".join(piece for piece, _ in line).rstrip() for line in lines]


def ranked(n: int = 100) -> list[Tried]:
    return [
        Tried(
            number,
            {"rate": 10.0 ** (-4 * number / n), "kind": "ab"[number % 2], "same": 3},
            (1.0 - number / n,),
        )
        for number in range(n)
    ]


def axes_of(trials: list[Tried], names: list[str], *, maximize: bool = True):
    found = parallel_of(trials, names, ["r2"], [maximize])
    assert found is not None
    return {axis.name: axis for axis in found.axes}


def test_each_of_the_best_is_told_by_its_place_on_every_axis():
    said = words(parallel_lines(parallel_of(ranked(), ["rate", "kind"], ["r2"], [True]), 61, 8))

    assert said[1] == "1 to 5: the best of 100 trials; dotted: 22 others"
    top, bottom = said[4], said[11]
    axes = [place for place, sign in enumerate(bottom) if sign in "│12345"]
    assert axes == [10, 30, 50]
    # 1 has the highest rate, the first kind and the best score; its neighbour the second kind.
    assert top[10] == "1"
    assert (bottom[30], top[30]) == ("1", "2")
    assert top[50] == "1"
    # Colours apart, the others are dots and never digits.
    digits = {sign for line in said[4:12] for sign in line if sign.isdigit()}
    assert digits <= set("12345")


def test_the_best_stand_in_words_with_the_range_of_all_that_are_drawn():
    found = parallel_of(ranked(), ["rate", "kind", "same"], ["r2"], [True])

    said = words(parallel_lines(found, 0, 0))

    assert said[0] == "Parallel coordinates"
    assert said[2].split() == [
        "1",
        "#0",
        "2",
        "#1",
        "3",
        "#2",
        "4",
        "#3",
        "5",
        "#4",
        "all",
        "drawn",
    ]
    assert said[3].split()[:3] == ["rate", "1.000", "0.9120"]
    assert said[3].endswith(" .. 1.000 log")
    assert said[4].split() == ["kind", "a", "b", "a", "b", "a", "a", "..", "b"]
    assert said[5].split()[:2] == ["r2", "1.000"]
    assert len(said) == 6  # `same` is the same everywhere


def test_the_better_end_of_a_metric_is_up_whichever_way_it_goes():
    trials = [Tried(n, {"x": n}, (float(n),)) for n in range(20)]

    down = axes_of(trials, ["x"], maximize=False)["r2"]
    up = axes_of(trials[::-1], ["x"])["r2"]

    assert (down.high, down.places[0]) == ("0.000", 1.0)
    assert (up.high, up.places[19]) == ("19.00", 1.0)


def test_the_worst_tenth_is_not_drawn_so_that_the_rest_has_room():
    trials = [Tried(n, {"x": n}, (-float(n),)) for n in range(99)]
    trials.append(Tried(99, {"x": 99}, (-1e300,)))

    found = parallel_of(trials, ["x"], ["r2"], [True])

    assert found is not None
    assert max(one.number for one in found.others) < 90
    assert len(found.best) == BEST
    assert len(found.others) <= OTHERS


def test_only_what_was_searched_over_decades_is_drawn_by_powers_of_ten():
    log = axes_of(ranked(), ["rate"])["rate"]
    even = [Tried(n, {"share": 0.001 + n / 100}, (-float(n),)) for n in range(100)]

    assert log.log
    assert log.places[max(log.places)] == pytest.approx(0.0)
    assert not axes_of(even, ["share"])["share"].log


def test_a_trial_without_a_parameter_has_no_place_on_its_axis():
    trials = [
        Tried(0, {"x": 1, "drop": 0.5}, (3.0,)),
        Tried(1, {"x": 2}, (2.0,)),
        Tried(2, {"x": 3, "drop": 0.7}, (1.0,)),
    ]
    found = parallel_of(trials, ["x", "drop"], ["r2"], [True])
    assert found is not None

    picture = words(parallel_lines(found, 61, 8))
    drop = found.axes[1]

    assert set(drop.places) == {0, 2}
    assert "2" not in {line[30] for line in picture[4:12] if len(line) > 30}
    assert words(parallel_lines(found, 0, 0))[4].split()[:4] == ["drop", "0.5000", "–", "0.7000"]


@pytest.mark.parametrize(
    "value", [10**400, math.inf, math.nan, None, True, "\x1b[31m", [1, 2], {"a": 1}, -0.0]
)
def test_no_value_of_a_parameter_breaks_an_axis(value: object):
    trials = [Tried(0, {"x": value}, (1e308,)), Tried(1, {"x": 7}, (-1e308,)), Tried(2, {}, (0.0,))]

    said = "\n".join(words(parallel_lines(parallel_of(trials, ["x"], ["r2"], [True]), 80, 6)))

    assert "\x1b" not in said
    assert "│" in said


def test_without_a_second_trial_or_a_change_there_is_nothing_to_draw():
    assert parallel_of(ranked()[:1], ["rate"], ["r2"], [True]) is None
    assert parallel_of(ranked(), ["same"], ["r2"], [True]) is None
    assert parallel_lines(None, 80, 8) == []


@pytest.mark.parametrize("width", [1, 12, 20, 29, 80, 200])
def test_no_width_breaks_a_picture_and_what_has_no_room_stands_in_the_table(width: int):
    params = {f"parameter_{n}": n for n in range(12)}
    trials = [Tried(n, {k: v * n for k, v in params.items()}, (float(-n),)) for n in range(30)]

    lines = words(parallel_lines(parallel_of(trials, list(params), ["r2"], [True]), width, 6))

    assert all(any(line.startswith(f"parameter_{n} ") for line in lines) for n in range(1, 12))
    picture = [line for line in lines if "│" in line]
    assert all(len(line) < width for line in picture)
    assert bool(picture) == (width > 20)


def compromises(*points: tuple[float, ...], front: list[int], knee: int) -> Compromises:
    maximize = (True, False, True)[: len(points[0])]
    names = ("r2", "mae", "third")[: len(points[0])]
    kept = [(n, points[n]) for n in front]
    return Compromises(names, maximize, kept, knee, points, len(points))


def test_the_front_is_drawn_above_and_right_of_all_that_it_beats():
    found = compromises((0.1, 1.0), (0.5, 3.0), (0.9, 9.0), (0.2, 8.0), front=[0, 1, 2], knee=1)

    said = words(front_lines(found, 60, 8))

    assert said[0] == "Pareto front"
    assert said[1] == ("3 trials of 4 that no other one beats; # is proposed")
    drawn = said[3:11]
    assert drawn[0].startswith("1.000 ┤")
    assert drawn[0][7] == "o"
    assert drawn[-1].startswith("9.000 ┤")
    assert drawn[-1].endswith("o")
    assert sum(line.count("#") for line in drawn) == 1
    assert said[11].split() == ["0.1000", "0.9000"]


def test_the_front_stands_in_words_from_the_best_by_the_first_metric_on():
    found = compromises((0.1, 1.0, 5.0), (0.5, 3.0, 1.0), (0.9, 9.0, 0.0), front=[0, 1, 2], knee=1)

    said = words(front_lines(found, 0, 0))

    assert said[2].split() == ["r2", "mae", "third"]
    assert [line.split()[:3] for line in said[3:]] == [
        ["o", "#2", "0.9000"],
        ["#", "#1", "0.5000"],
        ["o", "#0", "0.1000"],
    ]
    assert said[4].endswith("proposed")


@pytest.mark.parametrize("width", [1, 20, 27, 200])
def test_a_front_of_one_trial_and_any_width_is_drawn(width: int):
    found = compromises((1e308, 1.0), front=[0], knee=0)

    assert "1 trial of 1 " in words(front_lines(found, width, 4))[1]


async def test_a_study_of_two_metrics_shows_its_front_and_an_axis_for_each(store: Store):
    experiment = store.experiment(metric="r2,mae")
    study = store.study(experiment, "ridge")
    store.insert("study_directions", study_id=study, direction="MINIMIZE", objective=1)
    with store.together():
        for number, scores in enumerate([(0.9, 9.0), (0.5, 3.0), (0.1, 1.0), (0.05, 8.0)]):
            trial = store.trial(study, number, scores[0], params={"alpha": 0.1 * (number + 1)})
            for place, score in enumerate(scores):
                store.insert(
                    "trial_values",
                    trial_id=trial,
                    objective=place,
                    value=score,
                    value_type="FINITE",
                )

    async with sitting(store.location, (120, 90)) as seat:
        await seat.press("2", "4")

        await seat.sees("3 trials of 4 that no other one beats")
        assert seat.line("# #1").strip("┃ ").split() == ["#", "#1", "0.5000", "3.000", "proposed"]
        table = seat.text().split("Parallel coordinates")[1]
        assert table.split("1 #1")[1].split("\n")[0].split()[:4] == ["2", "#0", "3", "#2"]
        assert "\n┃mae " in table
        assert "\n┃alpha " in table


async def test_the_charts_of_a_study_have_parallel_coordinates(store: Store):
    experiment = store.experiment()
    study = store.study(experiment, "ridge")
    with store.together():
        for number in range(20):
            store.trial(
                study, number, number / 20, params={"alpha": 0.1 * number, "kind": "ab"[number % 2]}
            )

    async with sitting(store.location, (80, 60)) as seat:
        await seat.press("2", "4")

        await seat.sees("Parallel coordinates")
        assert "the best of 20 trials" in seat.text()
        assert seat.line("1 #19").strip("┃ ").split()[:4] == ["1", "#19", "2", "#18"]
