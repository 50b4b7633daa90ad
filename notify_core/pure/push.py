"""A pipeline of Redis commands as one buffer, and the scan of its raw answer (twin of push.pyx).

RESP2: a command is an array of bulk strings, an answer any of its five types.
"""

from collections.abc import Sequence

from notify_core.errors import ReplyError

_DEPTH_MAX = 8
_DIGITS = frozenset(b"0123456789")


def pack(commands: Sequence[Sequence[bytes | int]]) -> bytes:
    """Commands as one pipeline. Raises TypeError for an argument that is not bytes or int."""
    out: list[bytes] = []
    for command in commands:
        out.append(b"*%d\r\n" % len(command))
        for argument in command:
            _put(out, argument)
    return b"".join(out)


def pack_pushes(
    function: bytes,
    groups: Sequence[tuple[Sequence[bytes], Sequence[Sequence[object]]]],
    arguments: Sequence[bytes | int],
) -> bytes:
    """One FCALL for each group of keys and pushes.

    A push is (anything, chunk, items, due_ms, since_ms). Behind the keys and the arguments,
    which are the same for every group, stand items, due_ms, since_ms and chunk of each push.
    Raises TypeError as `pack` does, ValueError for a push of another length.
    """
    out: list[bytes] = []
    same: list[bytes] = []
    for given in arguments:
        _put(same, given)
    for keys, pushes in groups:
        out.append(b"*%d\r\n" % (3 + len(keys) + len(arguments) + 4 * len(pushes)))
        for argument in (b"FCALL", function, len(keys), *keys):
            _put(out, argument)
        out += same
        for _, chunk, items, due_ms, since_ms in pushes:
            for field in (items, due_ms, since_ms):
                if not isinstance(field, int):
                    raise TypeError(f"a push counts in int, not {type(field).__name__}")
                _put(out, field)
            if not isinstance(chunk, bytes):
                raise TypeError(f"a chunk is bytes, not {type(chunk).__name__}")
            _put(out, chunk)
    return b"".join(out)


def scan(answer: bytes | bytearray, start: int, replies: int) -> tuple[int, int, bytes | None]:
    """How many whole replies are in an answer from `start` on, at most `replies`.

    Also where they end, and the first error's text, None without one. Errors inside of an
    array count. Raises ReplyError for what is not RESP2.
    """
    if not isinstance(answer, bytes | bytearray):
        raise TypeError(f"an answer is bytes or bytearray, not {type(answer).__name__}")
    if not 0 <= start <= len(answer):
        raise ValueError("start is outside of the answer")
    error: bytes | None = None
    count = 0
    while count < replies:
        end, found = _reply(answer, start, 0)
        if end < 0:
            break
        if error is None:
            error = found
        start = end
        count += 1
    return count, start, error


def _put(out: list[bytes], argument: object) -> None:
    if isinstance(argument, bytes):
        out.append(b"$%d\r\n%s\r\n" % (len(argument), argument))
    elif isinstance(argument, int) and not isinstance(argument, bool):
        digits = b"%d" % argument
        out.append(b"$%d\r\n%s\r\n" % (len(digits), digits))
    else:
        raise TypeError(f"a Redis argument is bytes or int, not {type(argument).__name__}")


def _reply(answer: bytes | bytearray, at: int, depth: int) -> tuple[int, bytes | None]:
    """Where the reply at `at` ends, -1 where it is not whole, and its first error."""
    line_end = answer.find(b"\r\n", at)
    if line_end < 0:
        return -1, None
    tag = bytes(answer[at : at + 1])
    after = line_end + 2
    if tag in (b"+", b":"):
        return after, None
    if tag == b"-":
        return after, bytes(answer[at + 1 : line_end])
    if tag not in (b"$", b"*"):
        raise ReplyError(f"the answer of Redis is not RESP2: a reply begins with {tag!r}")
    length = _length(answer[at + 1 : line_end])
    if length < 0:
        return after, None
    if tag == b"$":
        return _bulk_end(answer, after + length + 2), None
    return _items(answer, after, length, depth)


def _bulk_end(answer: bytes | bytearray, end: int) -> int:
    if end > len(answer):
        return -1
    if answer[end - 2 : end] != b"\r\n":
        raise ReplyError("the answer of Redis is not RESP2: a bulk string has no end")
    return end


def _items(answer: bytes | bytearray, at: int, length: int, depth: int) -> tuple[int, bytes | None]:
    if depth == _DEPTH_MAX:
        raise ReplyError("the answer of Redis is nested too deeply")
    error: bytes | None = None
    for _ in range(length):
        at, found = _reply(answer, at, depth + 1)
        if at < 0:
            return -1, None
        if error is None:
            error = found
    return at, error


def _length(digits: bytes | bytearray) -> int:
    if digits == b"-1":
        return -1
    if not 1 <= len(digits) <= 10 or not _DIGITS.issuperset(digits):
        raise ReplyError("the answer of Redis is not RESP2: a length is not a number")
    return int(digits)
