"""A trouble that lasts is said once in a while, with how often it was met."""

import logging

import pytest

from notify.runtime import logs


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    return now


def record(text: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("notify.x", logging.WARNING, __file__, 1, text, args, None)


def test_the_same_sentence_again_is_counted_not_written(clock: list[float]) -> None:
    repeats = logs.Repeats()
    assert repeats.filter(record("%s is away", "it"))
    assert not any(repeats.filter(record("%s is away", "it")) for _ in range(3))
    assert repeats.filter(record("%s is away", "another"))
    clock[0] += logs.REPEAT_S
    later = record("%s is away", "it")
    assert repeats.filter(later)
    assert later.getMessage() == "it is away (and 3 times more meanwhile)"
    clock[0] += logs.REPEAT_S
    last = record("%s is away", "it")
    assert repeats.filter(last)
    assert last.getMessage() == "it is away"


def test_what_it_remembers_is_bounded(clock: list[float]) -> None:
    repeats = logs.Repeats()
    for number in range(3 * logs.SENTENCES_MAX):
        assert repeats.filter(record("number %d", number))
        assert len(repeats._passed_s) <= logs.SENTENCES_MAX
