"""How many bars a second, beside the environments that people use today.

The same kind of loop for each: random actions prepared beforehand, `step` until the end, `reset`,
on one core, with 12 features of 20,000 synthetic bars. A round measures every one of them for a
moment, in turn, so that a busy machine slows all; the table shows the median of the rounds and
the median of the ratios within each round.

  TradingEnv            gymnasium face: next-open fills, fee, slippage, stop-loss, financing
  TradingVectorEnv N    the vector face, all of that for N accounts
  TradingVecEnv 64      the vector face of stable-baselines3, beside its DummyVecEnv
  gym-trading-env       fee and borrow rate; its render log is what it does on every step
  gym-anytrading        stocks, window 10
  loop in Python        a scalar account with fee alone, without any environment: the plain way

Peers that are not installed are left out: pip install -r bench/peers.txt

Speeds count seconds of the processor, not of the clock: each of these runs in one thread.

Then the compiler: the first import of the core with an empty cache, and one with a full one.

A part of `simulator.py`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import _common
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from simulator.costs import Costs
from simulator.environment import TradingEnv
from simulator.market import build_market
from simulator.risk import StopLoss
from simulator.synthetic import geometric_brownian
from simulator.vector import TradingVectorEnv

BARS, FEATURES, EPISODE = 20_000, 12, 2_000
Runner = Callable[[float], float]
"""Step for about so many seconds; return steps a second."""


def our_market() -> Any:
    """A market with every cost, and 12 features."""
    bars = geometric_brownian(BARS, volatility=0.01, seed=1)
    costs = Costs(0.001, slippage=0.0005, borrow_rate=0.02)
    return build_market(bars, costs=costs, rules=[StopLoss(0.05)])


def versions() -> dict[str, str]:
    """The versions of what was compared and what it runs on."""
    from importlib import metadata

    found = {}
    for name in ("numba", "gymnasium", "stable-baselines3", "gym-trading-env", "gym-anytrading",
                 "empyrical-reloaded", "quantstats"):  # fmt: skip
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def timed(steps: Iterator[int], seconds: float) -> float:
    """Steps a second of an endless iterator that yields how many it has just made.

    Seconds of the processor: all of these run in one thread, and a machine that does other work
    would else decide what is fast.
    """
    done, began = 0, time.process_time()
    for made in steps:
        done += made
        if (took := time.process_time() - began) >= seconds:
            return done / took
    raise AssertionError("endless")


def single(env: Any, actions: list[Any]) -> Runner:
    """The loop of one gymnasium environment, 500 steps between looks at the clock."""

    def steps() -> Iterator[int]:
        env.reset(seed=0)
        while True:
            for action in actions:
                _, _, terminated, truncated, _ = env.step(action)
                if terminated or truncated:
                    env.reset()
            yield len(actions)

    return lambda seconds: timed(steps(), seconds)


def many(env: Any, batches: list[Any]) -> Runner:
    """The loop of a vector environment."""

    def steps() -> Iterator[int]:
        env.reset()
        while True:
            for batch in batches:
                env.step(batch)
            yield len(batches) * env.num_envs

    return lambda seconds: timed(steps(), seconds)


def ours() -> dict[str, Runner]:
    """Our faces."""
    market, rng = our_market(), np.random.default_rng(0)
    flat = [rng.uniform(-1, 1, 1).astype(np.float32) for _ in range(500)]
    levels = [int(level) for level in rng.integers(0, 5, 500)]
    found = {
        "TradingEnv": single(TradingEnv(market, episode_bars=EPISODE), flat),
        "TradingEnv, 5 levels": single(TradingEnv(market, actions=5, episode_bars=EPISODE), levels),
    }
    for n in (64, 256, 1024, 4096):
        batches = [rng.uniform(-1, 1, (n, 1)).astype(np.float32) for _ in range(16)]
        vector = TradingVectorEnv(market, n, episode_bars=EPISODE)
        found[f"TradingVectorEnv {n}"] = many(vector, batches)
    return found


def of_stable_baselines3() -> dict[str, Runner]:
    """The vector of stable-baselines3, ours and its own."""
    try:
        from stable_baselines3.common.vec_env import DummyVecEnv

        from simulator.sb3 import TradingVecEnv
    except ImportError:
        return {}
    market, rng, n = our_market(), np.random.default_rng(0), 64
    batches = [rng.uniform(-1, 1, (n, 1)).astype(np.float32) for _ in range(16)]
    dummy = DummyVecEnv([lambda: TradingEnv(market, episode_bars=EPISODE)] * n)
    return {
        "TradingVecEnv 64": many(TradingVecEnv(market, n, episode_bars=EPISODE), batches),
        "DummyVecEnv 64 of TradingEnv": many(dummy, batches),
    }


def peers() -> dict[str, Runner]:
    """The environments that are installed."""
    found: dict[str, Runner] = {}
    rng = np.random.default_rng(0)
    frame = geometric_brownian(BARS, volatility=0.01, seed=1).to_frame()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import gym_trading_env.environments as gte

            data = frame.copy()
            for number in range(FEATURES):
                data[f"feature_{number}"] = rng.normal(size=BARS).astype(np.float32)
            env = gte.TradingEnv(
                data,
                positions=[-1, -0.5, 0, 0.5, 1],
                trading_fees=0.001,
                borrow_interest_rate=0.00001,
                max_episode_duration=EPISODE,
                verbose=0,
            )
            found["gym-trading-env"] = single(env, [int(x) for x in rng.integers(0, 5, 500)])
        except ImportError:
            pass
        try:
            from gym_anytrading.envs import StocksEnv

            named = frame.rename(columns=str.capitalize)
            env = StocksEnv(df=named, window_size=10, frame_bound=(10, EPISODE))
            found["gym-anytrading"] = single(env, [int(x) for x in rng.integers(0, 2, 500)])
        except ImportError:
            pass
    warnings.resetwarnings()
    warnings.simplefilter("ignore")
    return found


def plain() -> Runner:
    """A scalar account in Python, with fee alone."""
    bars = geometric_brownian(BARS, volatility=0.01, seed=1)
    opened, close = bars.open.tolist(), bars.close.tolist()
    wanted = np.random.default_rng(0).uniform(-1, 1, BARS).tolist()

    def steps() -> Iterator[int]:
        while True:
            cash, units = 1e4, 0.0
            for t in range(BARS - 1):
                price = opened[t + 1]
                target = wanted[t] * (cash + units * price) / price
                cash -= (target - units) * price + 0.001 * abs(target - units) * price
                units = target
                equity = cash + units * close[t + 1]
                if equity <= 0:
                    cash, units = 1e4, 0.0
            yield BARS - 1

    return lambda seconds: timed(steps(), seconds)


def compiler() -> dict[str, float]:
    """Seconds to import the core, wall and processor, without and with a cache; numba is loaded."""
    code = (
        "import time, numba, pandas; t, cpu = time.perf_counter(), time.process_time();"
        "import simulator.core; print(time.perf_counter() - t, time.process_time() - cpu)"
    )
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cold", "warm", "warm again"):
            done = subprocess.run(
                [sys.executable, "-c", code],
                env={**os.environ, "NUMBA_CACHE_DIR": folder},
                cwd=Path(__file__).resolve().parents[1],
                capture_output=True,
                text=True,
                check=True,
            )
            wall, cpu = map(float, done.stdout.split())
            found[f"{name}, wall s"], found[f"{name}, processor s"] = wall, cpu
    return found


def measure(rounds: int) -> dict[str, Any]:
    """{"steps_per_s", "ratios", "rounds"}: medians over rounds, by what and rival."""
    warnings.simplefilter("ignore")
    runners = {**peers(), **ours(), **of_stable_baselines3(), "loop in Python": plain()}
    for run in runners.values():
        run(0.05)
    found = [{name: run(0.3) for name, run in runners.items()} for _ in range(rounds)]
    rivals = [name for name in ("gym-trading-env", "gym-anytrading") if name in runners]
    rivals.append("loop in Python")
    ratios = {
        name: {rival: median(one[name] / one[rival] for one in found) for rival in rivals}
        for name in runners
    }
    speeds = {name: median(one[name] for one in found) for name in runners}
    return {"steps_per_s": speeds, "ratios": ratios, "rounds": found}


def show(measured: dict[str, Any]) -> None:
    """The table of speeds and ratios."""
    speeds, ratios = measured["steps_per_s"], measured["ratios"]
    rows = [[name, f"{speed:,.0f}", *ratios[name].values()] for name, speed in speeds.items()]
    rivals = next(iter(ratios.values()))
    _common.print_table(["what", "steps/s", *(f"x {rival}" for rival in rivals)], rows)
