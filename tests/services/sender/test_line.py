"""The order inside one ordered subscription, key by key."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from notify.domain.ports import OrderHead
from notify.sender import line as line_module
from notify.sender.batch import Place
from notify.sender.lane import Job
from notify.sender.line import PARKED_JOBS_MAX, Line
from notify_core.records import DeliveryRecord, MessageRecord


def job(number: int, attempts: int = 0) -> Job:
    return Job(
        None, DeliveryRecord(attempts, MessageRecord(number, 1, "a", "", b"", "", 0, 0, b""))
    )


def id_of(one: Job | None) -> int:
    assert one is not None
    return one.delivery.message.id


def filled(*keys: str) -> Line:
    """Messages 1, 2, ... of these keys, which begin there."""
    line = Line()
    line.learn(OrderHead(key, 0, 0, 0) for key in set(keys))
    for number, key in enumerate(keys, 1):
        line.add(key, job(number))
    return line


def test_the_next_of_a_key_is_free_when_the_one_before_is_finished() -> None:
    line = filled("a", "a", "b")
    assert [id_of(line.take()), id_of(line.take())] == [1, 3]
    assert line.first(0) is None
    line.finish("b")
    assert line.first(0) is None
    line.finish("a")
    assert id_of(line.first(0)) == 2
    assert len(line) == 1


def test_a_failing_key_parks_only_itself() -> None:
    line = filled("a", "a", "b", "b")
    line.take()
    line.park("a", job(1, 1), 1000)
    assert id_of(line.take()) == 3
    line.finish("b")
    assert id_of(line.take()) == 4
    line.finish("b")
    assert line.first(999) is None
    assert line.next_ms() == 1000
    assert id_of(line.first(1000)) == 1
    assert line.take().delivery.attempts == 1


def test_places_rise_by_one_and_name_the_one_before() -> None:
    line = filled("a", "b", "a", "a")
    places = {}
    for _ in range(4):
        taken = line.take()
        places[id_of(taken)] = taken.place
        line.finish("b" if id_of(taken) == 2 else "a")
    assert places == {1: Place(1, 0), 2: Place(1, 0), 3: Place(2, 1), 4: Place(3, 3)}


def test_a_line_goes_on_from_its_head() -> None:
    line = Line()
    assert line.lacks({"a"}) == {"a"}
    line.learn([OrderHead("a", 41, 7, 5)])
    line.add("a", job(9))
    assert line.take().place == Place(42, 7)


def test_a_repeated_try_has_the_place_of_the_first() -> None:
    line = filled("a")
    first = line.take().place
    line.park("a", job(1, 1), 0)
    line.first(0)
    assert line.take().place == first
    line.put_first("a")
    assert line.take().place == first


@pytest.mark.parametrize("ids", [(3, 5), (5, 3)])
def test_what_had_a_try_keeps_its_place_before_one_that_came_late(ids: tuple[int, int]) -> None:
    """A Sender before this one began 5; 3, of the same time, was split later."""
    line = Line()
    line.learn([OrderHead("a", 8, 5, 1)])
    for number in ids:
        line.add("a", job(number))
    taken = line.take()
    assert (id_of(taken), taken.place) == (5, Place(8, 1))
    line.finish("a")
    taken = line.take()
    assert (id_of(taken), taken.place) == (3, Place(9, 5))


def test_what_comes_late_comes_before_what_had_no_try() -> None:
    line = filled("a")
    line.take()
    line.finish("a")
    line.add("a", job(9))
    line.add("a", job(5))
    assert id_of(line.first(0)) == 5


def test_a_key_with_too_many_keeps_the_first_and_reads_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(line_module, "KEY_JOBS_MAX", 2)
    line = filled("a", "a", "a", "a", "b")
    assert len(line) == 3
    for key in ("a", "b"):
        line.take()
        line.finish(key)
    assert not line.must_read
    line.take()
    line.finish("a")
    assert line.must_read
    line.add("a", job(4))
    assert len(line) == 0, "not before 3"
    assert line.read_from(5) == 3
    for number in (3, 4):
        line.add("a", job(number))
    assert not line.must_read
    assert id_of(line.take()) == 3


def test_heads_of_quiet_keys_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "HEADS_MAX", 2)
    line = filled("a", "b", "c")
    for key in ("a", "b"):
        line.take()
        line.finish(key)
    line.trim()
    assert line.lacks({"a", "b", "c"}) == {"a"}


KEYS = ("a", "b", "c")


class Model(RuleBasedStateMachine):
    """Messages come in id order; each key's are taken in that order, one under way at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.before = line_module.KEY_JOBS_MAX
        line_module.KEY_JOBS_MAX = 3
        self.line = Line()
        self.now_ms = 0
        self.stored: dict[str, list[int]] = {key: [] for key in KEYS}  # unfinished
        self.done: dict[str, list[int]] = {key: [] for key in KEYS}
        self.under_way: dict[str, int] = {}
        self.parked: dict[str, tuple[int, int]] = {}
        self.places: dict[int, Place] = {}
        self.next_id = 1
        self.read_to = 1

    def teardown(self) -> None:
        line_module.KEY_JOBS_MAX = self.before

    @rule(keys=st.lists(st.sampled_from(KEYS), max_size=5))
    def store(self, keys: list[str]) -> None:
        for key in keys:
            self.stored[key].append(self.next_id)
            self.next_id += 1

    @rule()
    def read(self) -> None:
        start = self.line.read_from(self.read_to)
        lacking = self.line.lacks(KEYS)
        self.line.learn(OrderHead(key, 0, 0, 0) for key in lacking)
        waiting = sorted((id_, key) for key in KEYS for id_ in self.stored[key] if id_ >= start)
        for id_, key in waiting:
            if id_ not in self.line:
                self.line.add(key, job(id_))
        self.read_to = self.next_id

    @rule()
    def take(self) -> None:
        found = self.line.first(self.now_ms)
        if found is None:
            return
        taken = self.line.take()
        assert id_of(taken) == id_of(found)
        [key] = [key for key in KEYS if id_of(taken) in self.stored[key]]
        assert key not in self.under_way
        assert id_of(taken) == self.stored[key][0], "an earlier one of its key is unfinished"
        assert self.now_ms >= self.parked.pop(key, (0, 0))[0]
        last = self.done[key][-1] if self.done[key] else 0
        expected = Place(len(self.done[key]) + 1, last)
        assert taken.place == self.places.setdefault(id_of(taken), expected) == expected
        self.under_way[key] = id_of(taken)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def finish(self, data: Any) -> None:
        key = data.draw(st.sampled_from(sorted(self.under_way)))
        self.line.finish(key)
        self.stored[key].remove(self.under_way[key])
        self.done[key].append(self.under_way.pop(key))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), delay_ms=st.integers(0, 5))
    def park(self, data: Any, delay_ms: int) -> None:
        key = data.draw(st.sampled_from(sorted(self.under_way)))
        id_ = self.under_way.pop(key)
        self.parked[key] = (self.now_ms + delay_ms, id_)
        self.line.park(key, job(id_, 1), self.now_ms + delay_ms)

    @rule(passed_ms=st.integers(0, 5))
    def wait(self, passed_ms: int) -> None:
        self.now_ms += passed_ms

    @rule()
    def lose(self) -> None:
        """Another Sender goes on: nothing is under way, heads are as they were stored."""
        self.line = Line()
        for key in KEYS:
            tried = [id_ for id_ in (*self.done[key], *self.stored[key]) if id_ in self.places]
            if tried:
                place = self.places[tried[-1]]
                self.line.learn([OrderHead(key, place.sequence, tried[-1], place.previous_id)])
        self.under_way.clear()
        self.parked.clear()
        self.read_to = 1

    @invariant()
    def nothing_is_stuck(self) -> None:
        if self.line.must_read or self.read_to < self.next_id:
            return
        for key in KEYS:
            if self.stored[key] and key not in self.under_way and key not in self.parked:
                assert self.stored[key][0] in self.line
                assert self.line.free


Model.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestModel = Model.TestCase


@given(st.permutations(range(1, 8)))
def test_whatever_order_they_are_read_in_they_go_by_id(numbers: list[int]) -> None:
    line = Line()
    line.learn([OrderHead("a", 0, 0, 0)])
    for number in numbers:
        line.add("a", job(number))
    taken = []
    while line.first(0) is not None:
        taken.append(id_of(line.take()))
        line.finish("a")
    assert taken == sorted(numbers)


def test_a_failing_key_leaves_room_for_others() -> None:
    line = filled(*["a"] * 100)
    assert len(line) == 100
    line.take()
    line.park("a", job(1, 1), 1000)
    assert len(line) == PARKED_JOBS_MAX
    line.add("a", job(101))
    assert len(line) == PARKED_JOBS_MAX
    assert line.first(999) is None
    for number in range(1, PARKED_JOBS_MAX + 1):
        assert id_of(line.first(1000)) == number
        line.take()
        line.finish("a")
    assert line.must_read
    assert line.read_from(500) == PARKED_JOBS_MAX + 1
