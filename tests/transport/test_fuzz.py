"""Random bytes as an answer: an Answer or a TransportError, soon, and nothing left behind."""

import asyncio

import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from notify.domain.errors import TransportError

PIECES = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.0 503 Busy\r\n",
    b"HTTP/1.1 204 No\r\n\r\n",
    b"content-length: 3\r\n",
    b"content-length: 18446744073709551615\r\n",
    b"transfer-encoding: chunked\r\n",
    b"transfer-encoding: gzip, chunked, x\r\n",
    b"connection: close\r\n",
    b"upgrade: x\r\nconnection: upgrade\r\n",
    b"retry-after: \xff\xff\r\n",
    b"\r\n",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"abc",
    b"\n",
    b"\x00",
]
ANSWERS = st.lists(st.sampled_from(PIECES) | st.binary(max_size=20), max_size=12)


# The fixture is a function without state, so that examples may share it.
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pieces=st.lists(ANSWERS, min_size=1, max_size=3), close=st.booleans())
def test_any_bytes_end_as_an_answer_or_a_transport_error(world, pieces, close) -> None:
    stages = set()

    async def handler(session):
        for sent in pieces:
            await session.request()
            for piece in sent:
                await session.send(piece)
        if not close:
            await session.closed()

    async def scenario():
        # world() itself asserts that no connection and no request is left at its end.
        async with world(handler, response_kept_bytes=4) as w:
            for _ in pieces:
                try:
                    async with asyncio.timeout(2):
                        answer = await w.post(timeout_ms=30)
                except TransportError as error:
                    stages.add(error.stage)
                else:
                    assert 200 <= answer.code <= 999
                    assert len(answer.body) <= 4

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario())
    assert stages <= {"timeout", "closed", "response", "connect", "send"}
