"""What the benchmarks of agents share: looks at an agent while it trains."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback


class Exam(BaseCallback):
    """Asks `score` at each of `steps`; the time that takes is not counted as the agent's."""

    def __init__(self, steps: Sequence[int], score: Callable[[], Mapping[str, Any]]) -> None:
        super().__init__()
        self.found: list[dict[str, Any]] = []
        self._steps, self._score = set(steps), score
        self._begun = time.process_time()

    def _on_step(self) -> bool:
        if self.num_timesteps in self._steps:
            now = time.process_time()
            row = {"steps": self.num_timesteps, "cpu_s": round(now - self._begun, 2)}
            self.found.append(row | dict(self._score()))
            self._begun += time.process_time() - now
        return True
