"""What is typed to filter by: `state:failed model:xgb* tag:odd max_bin`.

Words with `state:`, `model:` and `tag:` ask for a state, for models and for tags, as patterns with
`*` and `?`; several of one kind are alternatives. All other words must be in the text, in any case.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_KINDS = ("state", "model", "tag")


@dataclass(frozen=True, slots=True)
class Query:
    """Patterns of states, models and tags, and words; an empty one lets everything through."""

    states: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def matches(
        self, state: str, model: str, text: Callable[[], str], tags: Iterable[str] = ()
    ) -> bool:
        """Whether something of this state, model and tags, described by `text`, is asked for."""
        return (
            _fits(state, self.states)
            and _fits(model, self.models)
            and self.wants_tags(tags)
            and (not self.words or all(word in text().casefold() for word in self.words))
        )

    def wants_state(self, state: str) -> bool:
        """Whether things of this state are asked for, whatever else they are."""
        return _fits(state, self.states)

    def wants_tags(self, tags: Iterable[str]) -> bool:
        """Whether things with these tags are asked for, whatever else they are."""
        return not self.tags or any(_fits(tag, self.tags) for tag in tags)


def parse(typed: str) -> Query:
    """The query that a text means. A word with another colon in it is a word."""
    asked: dict[str, list[str]] = {kind: [] for kind in _KINDS}
    words = []
    for word in typed.casefold().split():
        kind, colon, pattern = word.partition(":")
        if colon and pattern and kind in asked:
            asked[kind].append(pattern)
        else:
            words.append(word)
    return Query(tuple(asked["state"]), tuple(asked["model"]), tuple(asked["tag"]), tuple(words))


def _fits(value: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(value.casefold(), p) for p in patterns)
