"""Requests by call-back: once, later, never after cancel, and nothing that is done there harms."""

import asyncio
import logging

import pytest

from notify.domain.errors import TransportError
from tests.transport.conftest import BODY, head

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Told:
    """What `done` was called with, in order; `then` is called behind each."""

    def __init__(self, then=lambda: None) -> None:
        self.calls = []
        self.then = then

    def __call__(self, answer, error) -> None:
        self.calls.append((answer, error))
        self.then()


def send(w, told, timeout_ms=5000, kept_bytes=1024):
    whole = head(w.peer.endpoint)
    return w.transport.send(w.peer.endpoint, whole, BODY, timeout_ms, kept_bytes, told)


def test_the_next_request_of_done_goes_over_the_same_connection(run, world) -> None:
    async def scenario():
        async with world(OK) as w:
            told = Told(lambda: len(told.calls) < 50 and send(w, told))
            send(w, told)
            assert not told.calls
            await w.until(lambda: len(told.calls) == 50)
            assert {answer.code for answer, _ in told.calls} == {200}
            assert (w.peer.accepted, w.transport.requests_in_flight) == (1, 0)

    run(scenario())


def test_an_exception_out_of_done_harms_nothing_and_is_logged(run, world, caplog) -> None:
    async def scenario():
        async with world(OK) as w:
            told = Told(lambda: 1 / 0)
            for count in range(1, 4):
                send(w, told)
                await w.until(lambda count=count: len(told.calls) == count)
            assert w.peer.accepted == 1

    with caplog.at_level(logging.ERROR):
        run(scenario())
    assert len(caplog.records) == 3


def test_kept_bytes_are_those_of_the_request(run, world) -> None:
    async def scenario():
        async with world(OK, response_bytes_max=4, response_kept_bytes=1) as w:
            told = Told()
            for count, kept in enumerate((0, 1, 10**9), 1):
                send(w, told, kept_bytes=kept)
                await w.until(lambda count=count: len(told.calls) == count)
            assert [answer.body for answer, _ in told.calls] == [b"", b"o", b"ok"]

    run(scenario())


async def hang(session):
    await session.request()
    await session.closed()


@pytest.mark.parametrize("warm", [False, True], ids=["dialing", "sent"])
def test_cancelled_is_never_told(run, world, warm) -> None:
    async def scenario():
        async with world(hang) as w:
            told = Told()
            exchange = send(w, told, timeout_ms=60_000)
            if warm:
                await w.until(lambda: w.peer.accepted == 1)
            exchange.cancel()
            exchange.cancel()
            assert w.transport.requests_in_flight == 0
            await w.until(lambda: w.transport.connections_open == 0)
            await w.transport.close()
            assert not told.calls

    run(scenario())


def test_cancelling_what_is_over_leaves_the_next_request_alone(run, world) -> None:
    async def scenario():
        async with world(OK) as w:
            told = Told()
            first = send(w, told)
            await w.until(lambda: len(told.calls) == 1)
            send(w, told)
            first.cancel()
            await w.until(lambda: len(told.calls) == 2)
            assert told.calls[1][0].code == 200
            assert w.peer.accepted == 1

    run(scenario())


def test_closing_tells_each_request_once(run, world) -> None:
    async def scenario():
        async with world(hang, connections_max=2) as w:
            told = Told()
            for _ in range(4):  # two are sent, two wait for a connection
                send(w, told, timeout_ms=60_000)
            await w.until(lambda: w.peer.accepted == 2)
            await w.transport.close()
            assert [error.stage for _, error in told.calls] == ["closed"] * 4
            send(w, told)
            assert len(told.calls) == 4
            await w.until(lambda: len(told.calls) == 5)
            assert told.calls[4][1].stage == "closed"

    run(scenario())


def silent_after(*pieces, gap_s=0.0):
    async def handler(session):
        await session.request()
        for piece in pieces:
            await session.send(piece)
            await asyncio.sleep(gap_s)
        await session.closed()

    return handler


def error_of(run, world, handler, timeout_ms, **flags):
    async def scenario():
        async with world(handler, **flags) as w:
            await w.post(timeout_ms)

    with pytest.raises(TransportError) as caught:
        run(scenario())
    return caught.value.stage, str(caught.value)


@pytest.mark.parametrize("start", [b"H", OK[:-1], b"HTTP/1.1 200 OK\r\n\r\n"])
def test_an_answer_that_begins_and_stops_is_given_up(run, world, start) -> None:
    stage, text = error_of(run, world, silent_after(start), 60_000, idle_read_ms=40)
    assert stage == "timeout"
    assert "nothing came for 40 ms" in text
    assert "sender.idle_read_ms" in text


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 102 Processing\r\n\r\n"])
def test_an_answer_that_has_not_begun_has_the_whole_time(run, world, start) -> None:
    stage, text = error_of(run, world, silent_after(start), 150, idle_read_ms=20)
    assert stage == "timeout"
    assert "within 150 ms" in text


def test_a_drip_is_bounded_by_the_whole_time(run, world) -> None:
    handler = silent_after(*(OK[n : n + 1] for n in range(len(OK) - 1)), gap_s=0.01)
    stage, text = error_of(run, world, handler, 120, idle_read_ms=60_000)
    assert stage == "timeout"
    assert "no complete answer within 120 ms" in text
