"""`hyperion-tui`: the grammar of the command line, exit codes, and the way into the app.

Exit codes: 0 ok, 1 ran but failed or no result, 2 usage or bad input, 3 a package is missing,
4 store locked or unreachable, 5 not comparable, 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn, cast

from engines.errors import BadInput, HyperionError, StoreOutdated, StoreUnavailable, one_line
from engines.study.location import STORE_VARIABLE, Location, has_password, locate
from hyperion_tui import __version__, options

SMALLEST = (60, 20)

COMMANDS = {
    "run": "hyperion_tui.commands.run:run",
    "list": "hyperion_tui.commands.show:list_experiments",
    "show": "hyperion_tui.commands.show:show",
    "trials": "hyperion_tui.commands.show:trials",
    "compare": "hyperion_tui.commands.show:compare",
    "pause": "hyperion_tui.commands.orders:order",
    "stop": "hyperion_tui.commands.orders:order",
    "cancel": "hyperion_tui.commands.orders:order",
    "resume": "hyperion_tui.commands.orders:resume",
    "retry": "hyperion_tui.commands.orders:retry",
    "export": "hyperion_tui.commands.export:export",
    "predict": "hyperion_tui.commands.export:predict",
    "check": "hyperion_tui.commands.check:check",
    "capabilities": "hyperion_tui.commands.about:capabilities",
    "tag": "hyperion_tui.commands.labels:tag",
    "note": "hyperion_tui.commands.labels:note",
    "delete": "hyperion_tui.commands.house:delete",
    "restore": "hyperion_tui.commands.house:restore",
    "purge": "hyperion_tui.commands.house:purge",
    "backup": "hyperion_tui.commands.house:backup",
    "backtest": "hyperion_tui.commands.backtest:backtest",
    "data list": "hyperion_tui.commands.about:data_list",
    "data check": "hyperion_tui.commands.about:data_check",
    "doctor": "hyperion_tui.commands.about:doctor",
    "config show": "hyperion_tui.commands.house:config_show",
}
"""The function of each command; its module is imported when it is called."""


class _Parser(argparse.ArgumentParser):
    """argparse with one-line errors and no abbreviations.

    signed_words: whether `+x` and `-x` are words of `tags`, and no options.
    """

    signed_words = False

    def __init__(self, *args: object, **kwargs: object) -> None:
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    def parse_known_args(self, args=None, namespace=None):
        """As argparse does it, but for words with a sign where they are tags."""
        if not self.signed_words:
            return super().parse_known_args(args, namespace)
        signed = [w for w in args if w[:1] in ("+", "-") and w[1:2] != "-" and w not in ("-", "-h")]
        found, rest = super().parse_known_args([w for w in args if w not in signed], namespace)
        found.tags += signed
        return found, rest

    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{one_line(message)}; see `{self.prog} --help`.")


def _typed(parse: Callable[[str], object]) -> Callable[[str], object]:
    """Our parsers' messages, in the form that argparse prefixes with the option's name."""

    def convert(text: str) -> object:
        try:
            return parse(text)
        except BadInput as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def build_parser() -> argparse.ArgumentParser:
    """The whole grammar."""
    parser = _Parser(
        prog="hyperion-tui",
        description="Tune models from the terminal. Without a command: the app.",
        epilog="example: hyperion-tui run ridge lightgbm --data diabetes --trials 20",
    )
    parser.add_argument("--version", action="version", version=f"hyperion-tui {__version__}")
    parser.add_argument("--slow", action="store_true", help="app: refresh once a second")
    _add_common(parser)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)

    def add(name: str, summary: str, example: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name, help=summary, description=summary, epilog=f"example: hyperion-tui {example}"
        )
        _add_common(sub, default=argparse.SUPPRESS)
        return sub

    _add_run(add("run", "start an experiment", "run sklearn --data my.csv --target y --time 10m"))
    sub = add("list", "all experiments: state, trials, best, ETA", "list")
    sub.add_argument("--trash", action="store_true", help="those that were deleted")
    sub = add("show", "one experiment or study", "show diabetes-1")
    sub.add_argument("name", metavar="NAME")
    sub = add("trials", "every trial of a study", "trials diabetes-1/ridge --csv trials.csv")
    sub.add_argument("study", metavar="STUDY")
    sub.add_argument("number", nargs="?", type=_typed(options.NUMBER), metavar="NUMBER",
        help="this one alone, with all that is known of it")  # fmt: skip
    sub.add_argument("--replay", action="store_true", help="compute its suggestions again")
    _add_csv(sub)
    sub = add("compare", "studies side by side, ranked", "compare diabetes-1 --csv table.csv")
    sub.add_argument("names", nargs="*", metavar="NAME")
    sub.add_argument("--only-changed", action="store_true", help="leave out what all have")
    sub.add_argument("--baseline", metavar="STUDY",
        help="how much better than this study or rule, on the held-out rows")  # fmt: skip
    _add_csv(sub)
    _add_orders(add)
    _add_export(add)
    add("capabilities", "families, models, what is installed", "capabilities")
    _add_data(add("data", "data sets", "data check my.csv"))
    _add_backtest(
        add("backtest", "score a policy in the simulator", "backtest buy-and-hold --data my.csv")
    )
    _add_house(add)
    _add_config(add("config", "your own settings", "config show --origin"))
    sub = add("doctor", "is everything in order?", "doctor --where")
    sub.add_argument("--where", action="store_true", help="list every path that is used")
    sub.add_argument("--clean", action="store_true", help="remove what no experiment needs")
    return parser


def _add_common(parser: argparse.ArgumentParser, default: object = None) -> None:
    parser.add_argument(
        "--store", default=default, metavar="FILE|URL", help="the store, instead of your own"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        default=False if default is None else default,
        help="data as JSON on stdout",
    )


def _add_csv(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--csv", metavar="FILE", help="write CSV to FILE, or - for stdout")
    parser.add_argument("--md", metavar="FILE", help="the same as a table of Markdown")
    parser.add_argument("--force", action="store_true", help="replace FILE if it exists")


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "selectors",
        nargs="+",
        metavar="SELECTOR",
        help="a model, a family, `all`, or file.py:function",
    )
    add = parser.add_argument
    add("--data", metavar="FILE|NAME", help="CSV, Parquet or a bundled set")
    add("--target", metavar="COLUMN", help="what to predict")
    add("--time-column", metavar="COLUMN", help="the order of the rows, or `none`")
    add("--task", metavar="TASK",
        help="regression or classification, guessed without it; forecast or trading")  # fmt: skip
    add("--horizon", type=_typed(options.HORIZON), metavar="H",
        help="forecast so many rows ahead, with --task forecast")  # fmt: skip
    add("--past-target", action="store_true",
        help="models may read the target up to the row before")  # fmt: skip
    add("--groups", metavar="COLUMN", help="rows of one group stay in one part of the split")
    add("--sample", type=_typed(options.whole(20, 10**9)), metavar="N",
        help="learn from N of the rows, drawn at random")  # fmt: skip
    add("--trials", type=_typed(options.TRIALS), metavar="N", help="finished trials a model")
    add("--time", type=_typed(options.duration_s), metavar="T", help="whole run: 90s, 10m, 1h30m")
    add("--workers", type=_typed(options.WORKERS), metavar="N", help="processes, one core each")
    add("--seed", type=_typed(options.SEED), metavar="N", help="of split and search (42)")
    add("--metric", metavar="NAME",
        help="r2, rmse, mae, mse, mape, pinball; accuracy, balanced_accuracy, f1, roc_auc, "
        "log_loss; of forecasts also mase, directional_accuracy; of agents sharpe_ratio, "
        "sortino_ratio, calmar_ratio, total_return, max_drawdown; several with commas between, as "
        "accuracy,fit_time; or file.py:function")  # fmt: skip
    add("--name", metavar="EXPERIMENT", help="a name, or an experiment to add to")
    add("--sampler", default="tpe", metavar="NAME", help="tpe, random, gp, cmaes, qmc or grid")
    add("--pruner", metavar="NAME", help="racing, none, median, halving or wilcoxon")
    add("--patience", type=_typed(options.PATIENCE), metavar="N",
        help="end a study after N trials without improvement")  # fmt: skip
    add("--min-improvement", type=_typed(options.number), metavar="X",
        help="what counts as one, in units of the metric")  # fmt: skip
    add("--trial-time", type=_typed(options.duration_s), metavar="T", help="limit of one trial")
    add("--trial-memory", type=_typed(options.memory_mib), metavar="M", help="limit, such as 2G")
    add("--device", metavar="NAME",
        help="where networks train: cpu or cuda; by itself on a GPU if there is one")  # fmt: skip
    add("--warm-start", metavar="STUDY",
        help="try the best parameters of an earlier study, or experiment, early")  # fmt: skip
    add("--space", metavar="FILE.toml", help="narrow what is searched; see `check`")
    add("--detach", action="store_true", help="start it and return")
    agents = parser.add_argument_group("trading agents", "costs as in `backtest`")
    _add_costs(agents.add_argument)


def _add_orders(add: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    sub = add("pause", "no new trials; those in hand finish", "pause diabetes-1 --now")
    sub.add_argument("name", metavar="NAME")
    how = sub.add_mutually_exclusive_group()
    how.add_argument("--now", action="store_true", help="interrupt trials; they are put back")
    how.add_argument("--freeze", action="store_true", help="stop processes where they are")
    sub = add("resume", "go on, with a larger budget if given", "resume diabetes-1 --trials 50")
    sub.add_argument("name", metavar="NAME")
    sub.add_argument("--trials", type=_typed(options.TRIALS), metavar="N", help="new total")
    sub.add_argument("--time", type=_typed(options.duration_s), metavar="T", help="new total")
    sub.add_argument("--workers", type=_typed(options.WORKERS), metavar="N")
    sub.add_argument("--wait", action="store_true", help="watch it to its end, as `run` does")
    for name, summary in (
        ("stop", "as pause, but final; the held-out score is opened"),
        ("cancel", "end now and for good; nothing more is scored"),
    ):
        add(name, summary, f"{name} diabetes-1").add_argument("name", metavar="NAME")
    sub = add("retry", "queue failed trials again", "retry diabetes-1/svr 3 7")
    sub.add_argument("study", metavar="STUDY")
    sub.add_argument("numbers", nargs="*", type=_typed(options.NUMBER), metavar="NUMBER")


def _add_house(add: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    sub = add("tag", "put tags on an experiment, study or trial", "tag diabetes-1 +good -slow")
    sub.add_argument("name", metavar="NAME", help="EXPERIMENT, EXPERIMENT/MODEL or .../MODEL#3")
    sub.add_argument("tags", nargs="*", metavar="[+|-]TAG", help="-TAG removes; without: show them")
    cast("_Parser", sub).signed_words = True
    sub = add("note", "write a note on an experiment, study or trial", "note diabetes-1 'for Ann'")
    sub.add_argument("name", metavar="NAME", help="EXPERIMENT, EXPERIMENT/MODEL or .../MODEL#3")
    sub.add_argument("text", nargs="*", metavar="TEXT", help="'' removes it; without: show it")
    for name, summary in (
        ("delete", "put an experiment into the trash"),
        ("restore", "bring an experiment back from the trash"),
        ("purge", "remove what is in the trash for good, and say what that frees"),
    ):
        add(name, summary, f"{name} diabetes-1").add_argument("name", metavar="NAME")
    sub = add("backup", "copy the store while it is in use", "backup studies-backup.db")
    sub.add_argument("file", metavar="FILE")
    sub.add_argument("--force", action="store_true", help="replace FILE if it exists")


def _add_config(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(
        dest="action", metavar="ACTION", parser_class=_Parser, required=True
    )
    show = actions.add_parser(
        "show",
        help="every setting as it holds",
        epilog="example: hyperion-tui config show --origin",
    )
    show.add_argument("--origin", action="store_true", help="say where each value is from")
    _add_common(show, default=argparse.SUPPRESS)


def _add_export(add: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    sub = add("export", "the best model of a study, with its card", "export diabetes-1/svr --to m")
    sub.add_argument("study", metavar="STUDY", help="a study, or EXPERIMENT/ensemble")
    sub.add_argument("--to", required=True, metavar="DIR", help="a new folder")
    sub.add_argument("--refit", choices=("all",), help="learn from the held-out rows too, first")
    sub.add_argument("--force", action="store_true", help="replace an earlier export")
    sub = add("predict", "use an exported model or agent", "predict m new.csv --out predicted.csv")
    sub.add_argument("folder", metavar="DIR")
    sub.add_argument("data", metavar="DATA", help="CSV or Parquet with the same columns")
    sub.add_argument("--out", metavar="FILE", help="write CSV to FILE instead of stdout")
    sub.add_argument("--force", action="store_true", help="replace FILE if it exists")
    add(
        "check", "a space, an objective or a metric, before trial 0", "check space.toml"
    ).add_argument("file", metavar="FILE", help="FILE.toml, or file.py:function")


def _add_data(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(
        dest="action", metavar="ACTION", parser_class=_Parser, required=True
    )
    _add_common(actions.add_parser("list", help="the bundled sets"), default=argparse.SUPPRESS)
    check = actions.add_parser("check", help="look at a file before using it")
    check.add_argument("file", metavar="FILE")
    check.add_argument("--target", metavar="COLUMN")
    check.add_argument("--time-column", metavar="COLUMN")
    tasks = "regression, classification, forecast or trading"
    check.add_argument("--task", metavar="TASK", help=tasks)
    check.add_argument("--horizon", type=_typed(options.HORIZON), metavar="H", help="as in `run`")
    check.add_argument("--past-target", action="store_true", help="as in `run`")
    check.add_argument("--groups", metavar="COLUMN", help="as in `run`")
    check.add_argument("--metric", metavar="NAME", help="see whether these rows can be scored")
    check.add_argument("--seed", type=_typed(options.SEED), default=42, metavar="N")
    _add_common(check, default=argparse.SUPPRESS)


def _add_costs(add: Callable[..., object]) -> None:
    share, number = _typed(options.share), _typed(options.number)
    add("--fee", type=share, default=0.001, metavar="X", help="share of what is traded (0.001)")
    add("--slippage", type=share, default=0.0, metavar="X", help="share of the price")
    add("--spread", type=share, default=0.0, metavar="X", help="share of the price")
    add("--borrow-rate", type=number, default=0.0, metavar="R", help="a year")
    add("--funding-rate", type=_typed(options.rate), default=0.0, metavar="R",
        help="a year, longs pay it")  # fmt: skip
    add("--max-position", type=number, default=1.0, metavar="X", help="fraction of equity (1)")
    add("--bars-per-year", type=number, metavar="N", help="without it: from the times")


def _add_backtest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "policy",
        metavar="POLICY",
        help="flat, buy-and-hold, random, a column of positions (fractions of equity), an exported "
        "agent's folder, or the study that it is of",
    )
    add = parser.add_argument
    add("--data", required=True, metavar="FILE|NAME", help="bars: CSV, Parquet or a sample")
    add("--time-column", metavar="COLUMN")
    _add_costs(add)
    add("--fill", choices=("next_open", "same_close"), default="next_open",
        help="same_close is look-ahead, for comparison")  # fmt: skip
    for name in ("--stop-loss", "--take-profit", "--max-drawdown"):
        add(name, type=_typed(options.number), metavar="X", help="share, such as 0.05")
    add("--balance", type=_typed(options.number), default=10000.0, metavar="MONEY")
    add("--seed", type=_typed(options.SEED), default=42, metavar="N", help="of random baselines")
    add("--trades", metavar="FILE", help="write the trade log as CSV, or - for stdout")
    add("--equity", metavar="FILE", help="write the equity curve as .svg or .png")
    add("--force", action="store_true", help="replace files that exist")


def main(argv: Sequence[str] | None = None) -> int:
    """The program; returns its exit code. The only place that turns errors into messages."""
    if argv is None:
        hide_password()
    os.umask(0o077)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name or a sign that this terminal's encoding lacks is shown as `?`, not a crash.
        sys.stdout.reconfigure(errors="replace")
    try:
        return _dispatch(build_parser().parse_args(argv))
    except HyperionError as error:
        from hyperion_tui.text import clean

        print(f"hyperion-tui: {clean(one_line(error, 2000))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has left. Python would complain once more at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def hide_password() -> None:
    """Start the program again without the password of `--store`, which everybody can read there.

    `ps` shows the words of every process to every user. The store goes on in HYPERION_STORAGE,
    which only its owner can read; what is left is the tenth of a second until here.
    """
    words = sys.argv[1:]
    stores = [
        *(word.partition("=")[2] for word in words if word.startswith("--store=")),
        *(words[i + 1] for i, word in enumerate(words[:-1]) if word == "--store"),
    ]
    if not any(has_password(store) for store in stores):
        return
    kept, given, rest = [], "", iter(words)
    for word in rest:
        if word == "--store":
            given = next(rest, given)
        elif word.startswith("--store="):
            given = word.partition("=")[2]
        else:
            kept.append(word)
    program = sys.orig_argv[: len(sys.orig_argv) - len(words)]
    environment = {**os.environ, STORE_VARIABLE: given}
    print(
        "hyperion-tui: note: a password in --store can be seen by others for a moment, and stays "
        f"in your shell's history; set {STORE_VARIABLE} instead.",
        file=sys.stderr,
        flush=True,
    )
    os.execve(sys.executable, [*program, *kept], environment)


def _dispatch(arguments: argparse.Namespace) -> int:
    location = locate(arguments.store)
    if arguments.command is None:
        check_terminal()
        from hyperion_tui.app import run_app

        bring_up_to_date(location)
        return run_app(location, slow=arguments.slow)
    name = arguments.command
    if name in ("data", "config"):
        name = f"{name} {arguments.action}"
    module, _, function = COMMANDS[name].partition(":")
    command = getattr(importlib.import_module(module), function)
    try:
        return int(command(arguments, location))
    except StoreOutdated:
        bring_up_to_date(location)
        return int(command(arguments, location))


def bring_up_to_date(location: Location) -> None:
    """Migrate a store of an older version, once; it costs a second, and nothing otherwise.

    In a process of its own: this one may become the app, which never loads SQLAlchemy.
    """
    if location.is_file and not location.path.exists():
        return
    from engines.study.reader import Reader

    try:
        Reader(location).close()
    except StoreOutdated:
        print("hyperion-tui: bringing the store up to date", file=sys.stderr, flush=True)
        code = "from engines.study.store import open_storage; open_storage().close()"
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],
            env={**os.environ, STORE_VARIABLE: location.option},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["no reason known"])[-1]
            text = reason.removeprefix("engines.errors.StoreUnavailable: ")
            raise StoreUnavailable(f"The store can't be brought up to date: {text}") from None
    except StoreUnavailable:
        return  # the app says so itself, and looks again


def check_terminal() -> None:
    """Raise BadInput unless there is a terminal that the app can be drawn on."""
    instead = "use a command instead, such as `hyperion-tui list`; see `hyperion-tui --help`"
    if not (sys.stdin.isatty() and sys.stdout.isatty() and sys.stderr.isatty()):
        raise BadInput(f"The app needs a terminal, and this is none: {instead}.")
    if os.environ.get("TERM", "") in ("", "dumb", "unknown"):
        raise BadInput(f"TERM={os.environ.get('TERM', '')} can't draw the app: {instead}.")
    size = shutil.get_terminal_size()
    if size.columns < SMALLEST[0] or size.lines < SMALLEST[1]:
        raise BadInput(
            f"The app needs {SMALLEST[0]}x{SMALLEST[1]} characters and this terminal has "
            f"{size.columns}x{size.lines}: enlarge it, or {instead}."
        )


if __name__ == "__main__":
    sys.exit(main())
