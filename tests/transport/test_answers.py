"""What is an answer, what is not, and what a hostile endpoint gains: nothing."""

import asyncio
import gzip
from contextlib import suppress

import pytest

from notify.domain.errors import TransportError
from notify.domain.ports import Answer

CLOSE = b"connection: close\r\n"


def ok(headers: bytes = b"", body: bytes = b"") -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + headers + b"\r\n" + body


def once(data: bytes, close: bool = False):
    """Answer one request, then close, or wait for the client to."""

    async def handler(session):
        await session.request()
        await session.send(data)
        if close:
            session.writer.close()
        await session.closed()

    return handler


def forever(first: bytes, again: bytes):
    async def handler(session):
        await session.request()
        await session.send(first)
        while True:
            await session.send(again)
            await asyncio.sleep(0)

    return handler


def answer_of(run, world, handler, timeout_ms=5000, **flags):
    async def scenario():
        async with world(handler, **flags) as w:
            return await w.post(timeout_ms)

    return run(scenario())


def error_of(run, world, handler, timeout_ms=5000, **flags):
    with pytest.raises(TransportError) as caught:
        answer_of(run, world, handler, timeout_ms, **flags)
    return caught.value.stage, str(caught.value)


@pytest.mark.parametrize(
    ("data", "code", "body"),
    [
        (ok(b"content-length: 2\r\n", b"ok"), 200, b"ok"),
        (ok(b"content-length: 0\r\n"), 200, b""),
        (ok(b"Transfer-Encoding: Chunked\r\n", b"2\r\nok\r\n1;x=y\r\n!\r\n0\r\n\r\n"), 200, b"ok!"),
        (ok(b"transfer-encoding: chunked\r\n", b"2\r\nok\r\n0\r\nx-t: 1\r\n\r\n"), 200, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\n\r\n", 304, b""),
        (b"HTTP/1.1 500\r\ncontent-length: 1\r\n\r\nx", 500, b"x"),
        (b"HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", 410, b""),
        (b"HTTP/1.1 999 ?\r\ncontent-length: 0\r\n\r\n", 999, b""),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, b"ok"),
        (ok(CLOSE + b"content-length: 2\r\n", b"ok"), 200, b"ok"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + ok(b"content-length: 2\r\n", b"ok"), 200, b"ok"),
        (
            b"HTTP/1.1 103 Early Hints\r\nretry-after: 9\r\n\r\n" * 10
            + ok(b"content-length: 2\r\n", b"ok"),
            200,
            b"ok",
        ),
        (ok(b"upgrade: h2c\r\nconnection: upgrade\r\ncontent-length: 2\r\n", b"ok"), 200, b"ok"),
    ],
)
def test_answers(run, world, data, code, body) -> None:
    assert answer_of(run, world, once(data)) == Answer(code, body, "")


@pytest.mark.parametrize("head", [b"HTTP/1.0 200 OK\r\n\r\n", ok(), ok(CLOSE)])
def test_a_body_without_a_length_ends_with_the_connection(run, world, head) -> None:
    assert answer_of(run, world, once(head + b"all of it", close=True)).body == b"all of it"


def test_retry_after_is_told(run, world) -> None:
    data = b"HTTP/1.1 503 Busy\r\nRetry-After:  120 \r\ncontent-length: 0\r\n\r\n"
    assert answer_of(run, world, once(data)) == Answer(503, b"", "120")


def test_a_redirect_is_an_answer_and_is_not_followed(run, world) -> None:
    async def scenario():
        data = b"HTTP/1.1 307 Again\r\nlocation: /hook\r\ncontent-length: 0\r\n\r\n"
        async with world(data) as w:
            assert (await w.post()).code == 307
            assert w.peer.accepted == 1

    run(scenario())


def test_compressed_bytes_are_left_alone(run, world) -> None:
    bomb = gzip.compress(bytes(20_000_000))
    data = ok(b"content-encoding: gzip\r\ncontent-length: %d\r\n" % len(bomb), bomb)
    assert answer_of(run, world, once(data)).body == bomb[:1024]


def test_only_the_first_bytes_of_a_body_are_kept(run, world) -> None:
    data = ok(b"content-length: 5000\r\n", b"a" * 5000)
    assert answer_of(run, world, once(data), response_kept_bytes=7).body == b"aaaaaaa"


def test_a_body_in_pieces_is_kept_up_to_the_bound(run, world) -> None:
    chunks = b"".join(b"1\r\n%c\r\n" % (97 + n % 26) for n in range(40)) + b"0\r\n\r\n"
    data = ok(b"transfer-encoding: chunked\r\n", chunks)
    answer = answer_of(run, world, once(data), response_kept_bytes=30)
    assert answer.body == b"abcdefghijklmnopqrstuvwxyzabcd"


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (ok(), b"x" * 4096),
        (ok(b"content-length: 100000000000\r\n"), b"x" * 4096),
        (ok(b"transfer-encoding: chunked\r\n"), b"5\r\nhello\r\n" * 400),
        (ok(b"transfer-encoding: chunked\r\n", b"5;"), b"extension" * 400),
        (ok(b"transfer-encoding: chunked\r\n", b"0\r\nx-trailer: "), b"x" * 4096),
    ],
)
def test_an_endless_body_is_cut_and_the_code_counts(run, world, first, again) -> None:
    async def scenario():
        async with world(forever(first, again)) as w:
            assert (await w.post()).code == 200
            await w.until(lambda: w.transport.connections_open == 0)

    run(scenario())


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", "not HTTP/1.1"),
        (b"\x15\x03\x01\x00\x02\x02\x50", "not HTTP/1.1"),
        (b"HTTP/1.1 2x0 OK\r\n\r\n", "not HTTP/1.1"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "not HTTP/1.1"),
        (b"HTTP/3.7 200 OK\r\ncontent-length: 0\r\n\r\n", "not HTTP/1.1"),
        (b"HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n", "impossible code 99"),
        (ok(b"no colon here\r\n"), "not HTTP/1.1"),
        (ok(b"a\x00b: x\r\n"), "not HTTP/1.1"),
        (ok(b"content-length: 1\r\ncontent-length: 2\r\n", b"xx"), "not HTTP/1.1"),
        (ok(b"content-length: -1\r\n"), "not HTTP/1.1"),
        (ok(b"content-length: 99999999999999999999999\r\n"), "not HTTP/1.1"),
        (
            ok(b"content-length: 5\r\ntransfer-encoding: chunked\r\n", b"0\r\n\r\n"),
            "not HTTP/1.1",
        ),
        (ok(b"transfer-encoding: chunked\r\n", b"zz\r\nok\r\n"), "not HTTP/1.1"),
        (ok(b"transfer-encoding: chunked\r\n", b"2\r\nokay\r\n"), "not HTTP/1.1"),
        (ok(b"transfer-encoding: chunked\r\n", b"ffffffffffffffffff\r\n"), "not HTTP/1.1"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "switches protocols"),
        (
            b"HTTP/1.1 101 S\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
            "switches protocols",
        ),
        (b"HTTP/1.1 103 Hints\r\n\r\n" * 11 + ok(), "interim answers"),
        (b"HTTP/1.1 103 Hints\r\ncontent-length: 2\r\n\r\nok", "announces a body"),
        (ok(b"a: b\r\n" * 101), "more than 100 headers"),
        (ok(b"a: " + b"b" * 40_000 + b"\r\n"), "longer than 32768 bytes"),
        (b"HTTP/1.1 200 " + b"x" * 40_000, "longer than 32768 bytes"),
    ],
)
def test_what_is_no_answer_is_refused_with_the_reason(run, world, data, text) -> None:
    stage, told = error_of(run, world, once(data))
    assert stage == "response"
    assert text in told


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"HTTP/1.1 200 OK\r\n", b"x-header: yes\r\n"),
        (b"HTTP/1.1 200 OK\r\nx: ", b"x" * 1000),
        (b"HTTP/1.1 200 ", b"x" * 1000),
        (b"", b"HTTP/1.1 103 Hints\r\n\r\n"),
    ],
)
def test_endless_headers_end_soon(run, world, first, again) -> None:
    assert error_of(run, world, forever(first, again))[0] == "response"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "closed by the endpoint before any answer (request sent, 0 bytes back)"),
        (b"HTTP/1.1 200 OK\r\ncont", "before the answer was complete"),
        (ok(b"content-length: 5\r\n", b"ok"), "before the answer was complete"),
        (ok(b"transfer-encoding: chunked\r\n", b"2\r\nok\r\n"), "before the answer was complete"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "before the answer was complete"),
    ],
)
def test_closing_early_is_told(run, world, data, text) -> None:
    stage, told = error_of(run, world, once(data, close=True))
    assert stage == "closed"
    assert text in told


def test_closing_without_reading_the_request_is_told(run, world) -> None:
    async def handler(session):
        session.writer.transport.abort()

    assert error_of(run, world, handler)[0] in ("closed", "connect")


def test_no_answer_is_a_time_out_that_says_how_far_it_came(run, world) -> None:
    assert error_of(run, world, once(b""), timeout_ms=60) == (
        "timeout",
        "no answer within 60 ms (connected, request sent, 0 bytes back)",
    )


def test_dripping_does_not_hold_the_time_out_off(run, world) -> None:
    async def handler(session):
        await session.request()
        for byte in ok(b"content-length: 100\r\n", b"x" * 100):
            await session.send(bytes([byte]))
            with suppress(TimeoutError):
                await asyncio.wait_for(session.closed(), 0.02)
                return

    stage, told = error_of(run, world, handler, timeout_ms=150)
    assert stage == "timeout"
    assert "no complete answer within 150 ms" in told


def test_a_body_that_never_ends_its_connection_is_a_time_out(run, world) -> None:
    assert error_of(run, world, once(ok()), timeout_ms=60)[0] == "timeout"


def test_an_answer_before_the_whole_request_was_read_counts_and_closes(run, world) -> None:
    async def handler(session):
        await session.reader.readuntil(b"\r\n\r\n")
        session.writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await session.writer.drain()
        await session.writer.wait_closed()

    async def scenario():
        async with world(handler) as w:
            assert (await w.post(body=bytes(30_000_000))).code == 413
            await w.until(lambda: w.transport.connections_open == 0)

    run(scenario())


def test_a_request_that_is_never_read_is_a_time_out_that_says_so(run, world) -> None:
    async def handler(session):
        await session.writer.wait_closed()

    async def scenario():
        async with world(handler) as w:
            with pytest.raises(TransportError, match="request not fully sent"):
                await w.post(timeout_ms=100, body=bytes(30_000_000))

    run(scenario())


def test_a_reset_while_the_request_is_being_sent_is_told(run, world) -> None:
    async def handler(session):
        await session.reader.readuntil(b"\r\n\r\n")

    async def scenario():
        async with world(handler) as w:
            with pytest.raises(TransportError, match="request not fully sent, 0 bytes") as caught:
                await w.post(body=bytes(30_000_000))
            assert caught.value.stage == "send"

    run(scenario())


def test_what_a_validation_request_is_answered(run, world) -> None:
    head = b"Webhook-Allowed-Rate: 120 \r\nWEBHOOK-ALLOWED-ORIGIN:\tnotify.example\r\n"
    answer = answer_of(run, world, once(ok(head + b"content-length: 2\r\n", b"ok")))
    assert answer == Answer(200, b"ok", "", ("notify.example", "120"))
    # What comes with an interim answer is not the answer's.
    interim = b"HTTP/1.1 103 Early Hints\r\nwebhook-allowed-origin: *\r\n\r\n"
    answer = answer_of(run, world, once(interim + ok(b"content-length: 2\r\n", b"ok")))
    assert answer.allowed == ("", "")
