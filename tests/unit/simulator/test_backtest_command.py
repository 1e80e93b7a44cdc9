"""`backtest`: a table for people, JSON for programs, files on request, one line for bad input."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import struct
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hyperion_tui import cli
from hyperion_tui.commands import curve
from simulator.synthetic import garch

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch) -> Run:
    """`run(words...)`: exit code, stdout, stderr, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> tuple[int, str, str]:
        code = cli.main(list(words))
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


@pytest.fixture
def data(tmp_path: Path) -> pd.DataFrame:
    """`bars.csv` in that folder: 300 bars and two columns of positions."""
    frame = garch(300, volatility=0.02, seed=1).to_frame().rename_axis("date")
    moves = np.sign(np.diff(frame["close"], append=frame["close"].iloc[-1]))
    frame["contrarian"] = -np.sign(frame["close"].diff().fillna(0.0))
    frame["prophet"] = moves
    frame.to_csv(tmp_path / "bars.csv")
    return frame


def test_buy_and_hold_is_shown_beside_the_baselines_with_its_curve(run, data):
    code, out, err = run("backtest", "buy-and-hold", "--data", "bars.csv")

    lines = out.splitlines()
    assert code == 0
    assert "252 bars a year" in err
    assert lines[0].startswith("bars.csv: 300 bars, 252 a year; filled at next_open")
    assert lines[1].split()[:4] == ["policy", "Sharpe", "return", "drawdown"]
    assert [line.split()[0] for line in lines[2:5]] == ["buy-and-hold", "flat", "sign-flipped"]
    assert sum("⣿" in line or "⠤" in line or "┤" in line for line in lines) == 8
    assert max(map(len, lines[1:5])) <= 80
    final = 10_000 / 1.001 * data["close"].iloc[-1] / data["open"].iloc[1]
    assert f"{final:,.2f} at the end of 299 bars" in out


def test_json_has_the_metrics_of_the_policy_and_of_each_baseline(run, data):
    code, out, _ = run("backtest", "contrarian", "--data", "bars.csv", "--json", "--fee", "0")

    document = json.loads(out)
    assert code == 0
    assert document["policy"] == "contrarian"
    assert set(document["baselines"]) == {
        *("flat", "buy-and-hold", "random, same turnover", "sign-flipped")
    }
    assert document["metrics"]["bars_per_year"] == 252
    assert document["metrics"]["sharpe_ratio"] is not None
    low, high = document["luck"]["sharpe_interval_95"]
    assert low < document["metrics"]["sharpe_ratio"] < high
    assert document["baselines"]["flat"]["sharpe_ratio"] is None


def test_the_positions_of_a_column_are_traded_one_bar_later(run, data):
    _, out, _ = run("backtest", "contrarian", "--data", "bars.csv", "--json", "--fee", "0")

    # Opens are the closes before them, so each decision earns the whole next move.
    moves = data["close"].pct_change().to_numpy()[1:]
    expected = 10_000 * np.prod(1 + data["contrarian"].to_numpy()[:-1] * moves)
    assert json.loads(out)["metrics"]["final_balance"] == pytest.approx(expected, rel=1e-9)


def test_a_policy_that_knows_the_next_move_is_said_to_look_ahead(run, data):
    _, _, prophet = run("backtest", "prophet", "--data", "bars.csv")
    _, _, honest = run("backtest", "contrarian", "--data", "bars.csv")

    assert "foretell the next move in 100% of bars: they look ahead" in prophet
    assert "look" not in honest


def test_same_close_is_labelled_in_every_table(run, data):
    _, out, err = run("backtest", "random", "--data", "bars.csv", "--fill", "same_close",
                      "--trades", "trades.csv")  # fmt: skip
    _, document, _ = run("backtest", "random", "--data", "bars.csv", "--fill", "same_close",
                         "--json")  # fmt: skip

    assert "filled at same_close (look-ahead)" in out
    assert "look-ahead:" in err
    assert "look-ahead" in json.loads(document)["fill"]
    assert "look-ahead" in Path("trades.csv").read_text()


def test_the_trade_log_is_csv_and_its_profits_add_up(run, data):
    code, out, _ = run("backtest", "contrarian", "--data", "bars.csv", "--trades", "-",
                       "--stop-loss", "0.03")  # fmt: skip
    _, document, _ = run("backtest", "contrarian", "--data", "bars.csv", "--json",
                         "--stop-loss", "0.03")  # fmt: skip

    rows = list(csv.DictReader(io.StringIO(out)))
    metrics = json.loads(document)["metrics"]
    assert code == 0
    assert len(rows) == metrics["num_trades"]
    assert sum(float(row["profit"]) for row in rows) == pytest.approx(
        metrics["final_balance"] - 10_000
    )
    assert {row["reason"] for row in rows} > {"order", "stop"}


def test_the_equity_curve_is_a_picture(run, data):
    run("backtest", "buy-and-hold", "--data", "bars.csv", "--equity", "curve.svg")
    run("backtest", "buy-and-hold", "--data", "bars.csv", "--equity", "curve.png")

    root = ET.parse("curve.svg").getroot()
    points = root.find("{http://www.w3.org/2000/svg}polyline").get("points").split()
    png = Path("curve.png").read_bytes()
    assert len(points) == 300
    assert "buy-and-hold on bars.csv, next_open" in Path("curve.svg").read_text()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", png[16:24]) == (curve.WIDTH, curve.HEIGHT)


def test_a_png_holds_the_curve_where_it_is_due():
    png = curve.as_png(np.linspace(0.0, 1.0, 50))
    size = int.from_bytes(png[33:37], "big")
    rows = np.frombuffer(zlib.decompress(png[41 : 41 + size]), np.uint8)
    picture = rows.reshape(curve.HEIGHT, -1)[:, 1:].reshape(curve.HEIGHT, curve.WIDTH, 3)

    ys, xs = np.nonzero((picture == curve.LINE).all(axis=2))

    assert np.corrcoef(xs, ys)[0, 1] < -0.999
    assert (picture == curve.INK).all(axis=2).any()


def test_a_curve_in_plain_letters_rises_with_its_values():
    lines = curve.in_terminal(np.arange(40.0), width=20, height=4, ascii_only=True)

    assert [line.find("*") for line in lines] == sorted(
        (line.find("*") for line in lines), reverse=True
    )
    assert lines[0].startswith("39 |")
    assert all(line.isascii() for line in lines)


def test_a_short_series_fills_the_width():
    lines = curve.in_terminal(np.array([1.0, 2.0, 3.0]), width=20, height=4, ascii_only=True)

    assert max(map(len, lines)) == len("3 |") + 20


@pytest.mark.parametrize("values", [np.full(5, 3.0), np.array([1.0, 1e9]), np.array([2.0, 1.0])])
def test_any_values_can_be_drawn(values):
    assert len(curve.in_terminal(values)) == 8
    assert curve.as_svg(values, "a < b", ("1", "2")).count("<polyline") == 1
    assert curve.as_png(values)


def test_axes_have_round_numbers_around_the_values():
    assert curve.axis(2_652, 11_662) == [2_000, 4_000, 6_000, 8_000, 10_000, 12_000]
    assert curve.axis(0.0, 0.0)[0] <= 0 < curve.axis(0.0, 0.0)[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nonsense", "--data", "bars.csv"), "no policy 'nonsense'; there are flat, buy-and-hold, "
         "random, or a column of numbers of the data: contrarian, prophet"),
        (("flat", "--data", "none.csv"), "no such file"),
        (("flat", "--data", "bars.csv", "--fee", "0.7"), "0.7 is not a share"),
        (("flat", "--data", "bars.csv", "--max-position", "0"), "max_position=0.0"),
        (("flat", "--data", "bars.csv", "--stop-loss", "5"), "stop_loss=5.0"),
        (("flat", "--data", "bars.csv", "--balance", "0"), "initial_balance=0.0"),
        (("flat", "--data", "bars.csv", "--time-column", "when"), "no column 'when'"),
        (("flat", "--data", "bars.csv", "--equity", "x.pdf"), "ends in .svg or .png"),
        (("flat", "--data", "bars.csv", "--trades", "bars.csv"), "bars.csv exists"),
        (("flat", "--data", "bars.csv", "--trades", "-", "--json"), "both want stdout"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_one_line_and_exit_code_2(run, data, words, said):
    code, out, err = run("backtest", *words)

    assert (code, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


def test_positions_beyond_the_largest_are_cut_with_a_notice(run, data):
    data.assign(double=data["contrarian"] * 2).to_csv("double.csv")

    _, cut, said = run("backtest", "double", "--data", "double.csv", "--json")
    _, whole, silent = run("backtest", "double", "--data", "double.csv", "--json",
                           "--max-position", "2")  # fmt: skip

    assert "(2 in row 2): cut to it; see --max-position" in json.loads(cut)["data"]["notices"][-1]
    assert len(json.loads(whole)["data"]["notices"]) == 1
    exposures = [json.loads(out)["metrics"]["exposure"] for out in (cut, whole)]
    assert exposures[1] > 1.5 * exposures[0]
    assert (said, silent) == ("", "")


def test_the_last_position_which_is_never_traded_may_be_missing(run, data):
    last = data.index == data.index[-1]
    data.assign(contrarian=data["contrarian"].mask(last)).to_csv("tail.csv")

    whole = json.loads(run("backtest", "contrarian", "--data", "bars.csv", "--json")[1])
    tail = json.loads(run("backtest", "contrarian", "--data", "tail.csv", "--json")[1])

    assert tail["metrics"] == whole["metrics"]
    assert set(tail["baselines"]) == set(whole["baselines"])


def test_text_among_positions_is_named_by_row(run, data):
    data.assign(side=np.where(data["contrarian"] > 0, "long", "short")).to_csv("text.csv")

    code, _, err = run("backtest", "side", "--data", "text.csv")

    assert code == 2
    assert "'side' is no number in row 1 ('short'): positions are fractions of equity" in err


def test_nearly_always_long_in_a_market_that_nearly_always_rises_is_no_look_ahead(run, data):
    close = 100 * 1.001 ** np.arange(300.0)
    pd.DataFrame({"close": close, "mostly": np.r_[0.5, -1.0, np.ones(298)]}).to_csv("rise.csv")

    _, _, err = run("backtest", "mostly", "--data", "rise.csv")

    assert "foretell" not in err


def test_bars_without_names_are_refused_with_the_columns_there_are(run, data):
    data.to_csv("bare.csv", header=False)

    code, _, err = run("backtest", "flat", "--data", "bare.csv")

    assert code == 2
    assert "no column open, high, low, close; the columns are 2000-01-03" in err


def test_bad_bars_and_holes_in_positions_are_named_by_row(run, data):
    data.assign(high=data["high"].mask(data.index == data.index[9], 1.0)).to_csv("bad.csv")
    data.assign(contrarian=data["contrarian"].mask(data.index == data.index[4])).to_csv("hole.csv")

    bad = run("backtest", "flat", "--data", "bad.csv")
    hole = run("backtest", "contrarian", "--data", "hole.csv")

    assert bad[0] == hole[0] == 2
    assert "row 10: high below low (1 against" in bad[2]
    assert "'contrarian' is no number in row 5" in hole[2]


def test_data_check_tells_what_is_wrong_with_bars_by_line(run, data):
    data.assign(high=data["high"].mask(data.index == data.index[9], 1.0)).to_csv("bad.csv")

    _, out, _ = run("data", "check", "bad.csv", "--target", "close")

    assert "line 11: high below low (1 against" in out


def test_a_sample_of_a_package_that_is_missing_says_how_to_add_it(run, monkeypatch):
    from simulator import samples

    def missing() -> pd.DataFrame:
        raise ImportError("no such package")

    entry = dataclasses.replace(samples.SAMPLES["sp500"], read=missing)
    monkeypatch.setitem(samples.SAMPLES, "sp500", entry)
    code, _, err = run("backtest", "flat", "--data", "sp500")

    assert code == 3
    assert "pip install 'hyperion-tui[data]'" in err
