"""The judge itself: it sees what is lost, doubled, invented or mixed up."""

import pytest

from tests.chaos.book import Book, Taken


def book() -> Book:
    return Book({"order.paid": (1, 2), "stock.changed": (1,)})


def test_what_was_promised_is_owed_until_it_arrives():
    judge = book()
    judge.promise(7, 700, "order.paid", at=1.0)
    judge.promise(8, 800, "stock.changed", at=2.0)
    judge.take([Taken(700, 2, 7, 1.5)])
    assert judge.owed(1.9) == [(700, 1)]
    assert judge.owed(2.0) == [(700, 1), (800, 1)]
    judge.take([Taken(700, 1, 7, 2.5), Taken(800, 1, 8, 2.5)])
    assert not judge.owed(9.9)
    assert not judge.again
    assert not judge.unpromised


def test_what_comes_again_is_counted():
    judge = book()
    judge.promise(7, 700, "stock.changed", at=1.0)
    judge.take([Taken(700, 1, 7, 2.0), Taken(700, 1, 7, 3.0)])
    assert [one.at for one in judge.again] == [3.0]


def test_what_arrives_before_its_answer_is_promised_later():
    judge = book()
    judge.take([Taken(700, 1, 7, 0.5)])
    assert set(judge.unpromised) == {(700, 1)}
    judge.promise(7, 700, "stock.changed", at=1.0)
    assert not judge.unpromised
    assert not judge.owed(9.9)


def test_what_matches_no_subscription_stays_unpromised():
    judge = book()
    judge.promise(7, 700, "stock.changed", at=1.0)
    judge.take([Taken(700, 1, 7, 2.0), Taken(700, 2, 7, 2.0)])
    assert set(judge.unpromised) == {(700, 2)}


def test_a_second_message_and_a_wrong_payload_are_seen():
    judge = book()
    judge.promise(7, 700, "stock.changed", at=1.0)
    judge.promise(7, 700, "stock.changed", at=2.0)  # the same request again
    with pytest.raises(AssertionError, match="stored twice"):
        judge.promise(7, 701, "stock.changed", at=2.0)
    judge.promise(8, 800, "stock.changed", at=2.0)
    with pytest.raises(AssertionError, match="wrong payload"):
        judge.take([Taken(700, 1, 8, 3.0)])


def test_in_flight_is_what_was_taken_and_not_marked_at_the_fault():
    judge = book()
    for number in (1, 2, 3, 4):
        judge.promise(number, number, "stock.changed", at=0.0)
    judge.take([Taken(1, 1, 1, 1.0), Taken(2, 1, 2, 1.0), Taken(3, 1, 3, 5.5), Taken(4, 1, 4, 7.0)])
    # 1 is marked, 9 was accepted and not delivered yet.
    assert judge.in_flight(5.0, 6.0, {(2, 1), (9, 1)}) == {(2, 1), (3, 1)}
