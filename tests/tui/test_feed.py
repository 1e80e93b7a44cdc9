"""The feed: reads only when something changed, and never says the same twice."""

from __future__ import annotations

import pytest

from engines.study.reader import NO_SPACE
from hyperion_tui.feed import Feed
from hyperion_tui.messages import Snapshot
from hyperion_tui.widgets.experiment_header import _first_line
from tests.tui.stores import Store, add_typical


def read(feed: Feed) -> Snapshot | None:
    """What the feed brings now, accepted as the app does; None if there is no news."""
    feed._not_before = 0.0
    if not feed.due():
        return None
    snapshot = feed.read()
    if snapshot is not None:
        feed.accept(snapshot)
    return snapshot


def test_an_unchanged_store_is_read_once(store: Store):
    add_typical(store)
    feed = Feed(store.location)

    assert read(feed) is not None
    assert read(feed) is None
    assert read(feed) is None
    feed.close()


def test_only_new_events_are_brought(store: Store):
    experiment, ids = add_typical(store)
    feed = Feed(store.location)
    first = read(feed)
    store.event(experiment, "trial_started", "started", ids[0], 12)

    second = read(feed)

    assert first is not None
    assert second is not None
    assert len(first.events) == 48
    assert [event.trial_number for event in second.events] == [12]
    feed.close()


def test_another_experiment_brings_its_log_from_the_start(store: Store):
    first, _ = add_typical(store, "first")
    add_typical(store, "second")
    feed = Feed(store.location)
    read(feed)

    feed.follow(first)
    snapshot = read(feed)

    assert snapshot is not None
    assert snapshot.current_id == first
    assert len(snapshot.events) == 48
    feed.close()


def test_nothing_is_read_before_the_last_picture_was_accepted(store: Store):
    add_typical(store)
    feed = Feed(store.location)
    feed.due()
    feed.read()
    feed._not_before = 0.0

    assert not feed.due()
    feed.close()


def test_a_runner_that_dies_is_noticed_although_nothing_is_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    add_typical(store, paused=False)
    alive: list[int | None] = [77]
    monkeypatch.setattr("engines.study.locks.runner_pid", lambda lock: alive[0])
    feed = Feed(store.location)
    running = read(feed)
    assert read(feed) is None

    alive[0] = None
    after = read(feed)

    assert running is not None
    assert after is not None
    assert not running.experiments[0].is_orphaned
    assert after.experiments[0].is_orphaned
    feed.close()


def test_a_full_disk_is_noticed_and_said_although_nothing_can_be_written(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    add_typical(store, paused=False)
    waiting = [False]
    monkeypatch.setattr("engines.study.locks.runner_pid", lambda lock: 77)
    monkeypatch.setattr("engines.study.reader.is_waiting_for_space", lambda lock: waiting[0])
    feed = Feed(store.location)
    before = read(feed)
    assert read(feed) is None

    waiting[0] = True
    during = read(feed)
    waiting[0] = False
    after = read(feed)

    assert before is not None
    assert during is not None
    assert after is not None
    troubles = [snapshot.experiments[0].trouble for snapshot in (before, during, after)]
    assert troubles == [None, NO_SPACE, None]
    header = "".join(words for words, _ in _first_line(during.experiments[0], during, 120))
    assert "running: the disk is full" in header
    feed.close()


def test_a_store_that_can_not_be_read_is_a_problem_only_if_it_lasts(store: Store):
    store.connection.execute("DROP TABLE hx_experiment")
    feed = Feed(store.location)

    assert read(feed) is None
    feed._failing_since = -100.0
    snapshot = read(feed)

    assert snapshot is not None
    assert snapshot.problem is not None
    feed.close()
    assert feed.read() is None


def test_a_store_that_is_only_looked_at_is_said_to_be(
    store: Store, monkeypatch: pytest.MonkeyPatch
):
    add_typical(store)
    monkeypatch.setattr("engines.study.reader.Reader.note", "only looked at", raising=False)
    feed = Feed(store.location)

    snapshot = read(feed)

    assert snapshot is not None
    assert snapshot.note == "only looked at"
    feed.close()
