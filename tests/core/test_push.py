import importlib
import os

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.connection import PythonRespSerializer

from notify_core.errors import ReplyError

pure = importlib.import_module("notify_core.pure.push")
core = pure if os.environ.get("NOTIFY_PURE") == "1" else importlib.import_module("notify_core.push")
both = pytest.mark.parametrize("push", list(dict.fromkeys([core, pure])))

numbers = st.integers() | st.sampled_from([0, 9, 10, -1, -9, -10, 1 << 63, -(1 << 63), 1 << 64])
blobs = st.binary(max_size=40) | st.sampled_from([bytes(9), bytes(10), bytes(99), bytes(1000)])
commands = st.lists(st.lists(blobs | numbers, min_size=1, max_size=6), max_size=5)
pushes = st.lists(st.tuples(st.none(), blobs, numbers, numbers, numbers), max_size=4)
groups = st.lists(st.tuples(st.lists(blobs, max_size=4), pushes), max_size=3)
texts = st.binary(max_size=12).map(lambda text: text.replace(b"\r", b"").replace(b"\n", b""))
replies = st.recursive(
    st.builds(lambda text: b"+%s\r\n" % text, texts)
    | st.builds(lambda text: b"-ERR %s\r\n" % text, texts)
    | st.builds(lambda number: b":%d\r\n" % number, st.integers(-(1 << 63), (1 << 63) - 1))
    | st.builds(lambda blob: b"$%d\r\n%s\r\n" % (len(blob), blob), blobs)
    | st.sampled_from([b"$-1\r\n", b"*-1\r\n"]),
    lambda inner: st.lists(inner, max_size=4).map(
        lambda items: b"*%d\r\n%s" % (len(items), b"".join(items))
    ),
    max_leaves=8,
)


def read_back(packed):
    """What a server reads: RESP as a reader that is not ours takes it apart."""
    reader = hiredis.Reader()
    reader.feed(packed)
    found = []
    while (command := reader.gets()) is not False:
        found.append(command)
    assert not reader.has_data()
    return found


def as_sent(argument):
    return argument if isinstance(argument, bytes) else b"%d" % argument


def answer(function, *arguments):
    try:
        return function(*arguments)
    except (ReplyError, TypeError, ValueError) as error:
        return type(error), str(error)


@both
@given(commands)
def test_a_server_reads_the_commands_that_were_packed(push, pipeline):
    expected = [[as_sent(argument) for argument in command] for command in pipeline]
    assert read_back(push.pack(pipeline)) == expected


@both
def test_a_command_is_packed_as_redis_py_packs_it(push):
    command = [b"XADD", b"key", b"*", b"n", 17, b"c", bytes(range(256))]
    packer = PythonRespSerializer(6000, lambda argument: as_sent(argument))
    assert push.pack([command]) == b"".join(packer.pack(*command))


@both
@given(groups, st.lists(blobs | numbers, max_size=3))
def test_a_group_becomes_one_call_with_its_pushes_in_order(push, grouped, arguments):
    expected = [
        [
            b"FCALL",
            b"f",
            b"%d" % len(keys),
            *keys,
            *map(as_sent, arguments),
            *[as_sent(field) for _, chunk, *counts in rows for field in (*counts, chunk)],
        ]
        for keys, rows in grouped
    ]
    assert read_back(push.pack_pushes(b"f", grouped, arguments)) == expected


@given(commands, groups, st.lists(blobs | numbers, max_size=3))
def test_twins_pack_the_same(pipeline, grouped, arguments):
    assert core.pack(pipeline) == pure.pack(pipeline)
    packed = pure.pack_pushes(b"f", grouped, arguments)
    assert core.pack_pushes(b"f", grouped, arguments) == packed


@pytest.mark.parametrize("wrong", ["text", 1.5, None, True, bytearray(b"x")])
def test_what_has_no_place_in_a_command_is_refused(wrong):
    for call in (
        lambda push: push.pack([[b"SET", wrong]]),
        lambda push: push.pack_pushes(b"f", [([wrong], [])], []),
        lambda push: push.pack_pushes(b"f", [([], [(None, wrong, 1, 2, 3)])], []),
        lambda push: push.pack_pushes(b"f", [([], [(None, b"", wrong, 2, 3)])], []),
        lambda push: push.pack_pushes(b"f", [], [wrong]),
    ):
        refused = answer(call, pure)
        assert answer(call, core) == refused
        assert refused[0] is TypeError


@both
def test_a_push_of_another_length_is_refused(push):
    for row in ((None, b"", 1, 2), (None, b"", 1, 2, 3, 4)):
        with pytest.raises(ValueError):
            push.pack_pushes(b"f", [([], [row])], [])


@both
@given(st.lists(replies, max_size=5), st.data())
def test_whole_replies_are_counted_wherever_the_answer_is_cut(push, parts, data):
    whole = b"".join(parts)
    cut = data.draw(st.integers(0, len(whole)))
    count, end, _ = push.scan(whole[:cut], 0, len(parts))
    assert end == len(b"".join(parts[:count]))
    assert count == len(parts) or cut < end + len(parts[count])
    more, end, _ = push.scan(whole, end, len(parts) - count)
    assert (count + more, end) == (len(parts), len(whole))


@both
@given(st.lists(replies, min_size=1, max_size=5))
def test_the_first_error_is_found_at_any_depth(push, parts):
    whole = b"".join(parts)
    reader = hiredis.Reader(replyError=RuntimeError)
    reader.feed(whole)
    _, _, error = push.scan(whole, 0, len(parts))
    expected = first_error([reader.gets(False) for _ in parts])
    # hiredis decodes an error's text, whatever bytes it has.
    assert (error and error.decode("utf-8", "replace")) == (expected and str(expected))


def first_error(reply):
    if isinstance(reply, RuntimeError):
        return reply
    if isinstance(reply, list):
        return next((found for item in reply if (found := first_error(item))), None)
    return None


@both
def test_no_more_replies_are_read_than_asked_for(push):
    assert push.scan(b"+a\r\n+b\r\n-c\r\n", 0, 2) == (2, 8, None)
    assert push.scan(b"+a\r\n+b\r\n-c d\r\n", 4, 2) == (2, 14, b"c d")
    assert push.scan(b"", 0, 1) == (0, 0, None)
    assert push.scan(b"+a\r\n", 0, 0) == (0, 0, None)


@both
@pytest.mark.parametrize(
    "answered",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"%1\r\n+a\r\n+b\r\n",
        b"$x\r\n",
        b"$-2\r\n",
        b"$\r\n",
        b"*99999999999\r\n",
        b"$1\r\nabc\r\n",
        b"*1\r\n" * 20 + b"+a\r\n",
        b"\r\n",
    ],
)
def test_what_is_not_resp2_is_said_so(push, answered):
    with pytest.raises(ReplyError, match="Redis"):
        push.scan(answered, 0, 1)


@given(st.binary(max_size=60), st.integers(0, 5))
def test_twins_scan_the_same_whatever_comes(noise, wanted):
    found = answer(pure.scan, noise, 0, wanted)
    assert answer(core.scan, noise, 0, wanted) == found
    assert answer(core.scan, bytearray(noise), 0, wanted) == found
    assert answer(pure.scan, bytearray(noise), 0, wanted) == found


def test_an_answer_is_bytes():
    refused = answer(pure.scan, memoryview(b"+a\r\n"), 0, 1)
    assert answer(core.scan, memoryview(b"+a\r\n"), 0, 1) == refused
    assert refused[0] is TypeError


@given(st.lists(replies, max_size=4), st.data())
def test_twins_scan_the_same_of_what_was_damaged(parts, data):
    whole = bytearray(b"".join(parts))
    for _ in range(data.draw(st.integers(0, 3))):
        if whole:
            whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(
                st.sampled_from(b"$*:+-\r\n019")
            )
    damaged = bytes(whole)
    start = data.draw(st.integers(-1, len(damaged) + 1))
    assert answer(core.scan, damaged, start, 9) == answer(pure.scan, damaged, start, 9)
