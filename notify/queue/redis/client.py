"""Connections to Redis, each a pipeline at a time.

redis-py connects (TLS, sockets, users, Sentinels); the commands are packed and their answers
scanned by notify_core.push, a whole pipeline in one write and, mostly, one read.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any, Final

import hiredis
from redis._parsers import _AsyncHiredisParser
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import OutOfMemoryError, ReadOnlyError, RedisError

from notify.domain.errors import QueueUnavailable
from notify.queue.redis.errors import is_missing_function, is_missing_group, unavailable
from notify.queue.redis.facts import eviction, facts
from notify.queue.redis.urls import Source
from notify_core import push
from notify_core.errors import ReplyError

Command = Sequence[bytes | int]

CONNECTIONS_MAX: Final = 32
READ_BYTES: Final = 262_144
# How often a server is asked whether it still is what it was: settings change under connections.
LOOK_S: Final = 60.0
_NEVER_S: Final = float("-inf")

log = logging.getLogger(__name__)


class PipelineParser(_AsyncHiredisParser):
    """redis-py's parser, which can also hand out the answer to a whole pipeline as it came.

    redis-py reads reply by reply, at several microseconds each, which for a pipeline of short
    replies is most of its cost. A connection's parser class is an argument of redis-py's.
    """

    async def read_raw(self, replies: int) -> tuple[bytearray, bytes | None]:
        """The bytes of the next replies, and the first error's text among them.

        Raises ReplyError, and ConnectionError where the connection ends.
        """
        answer, count, end = bytearray(), 0, 0
        error: bytes | None = None
        while True:
            piece = await self._stream.read(READ_BYTES) if self._stream is not None else b""
            if not piece:
                raise ConnectionResetError("Redis closed the connection")
            answer += piece
            more, end, found = push.scan(answer, end, replies - count)
            count += more
            error = error or found
            if count == replies:
                if end != len(answer):
                    raise ReplyError("Redis answered what it was not asked")
                return answer, error


class Link:
    """One connection, in use by one caller.

    run: the id of the server's present run: another one has other contents.
    """

    def __init__(self, connection: AbstractConnection, answer_timeout_s: float) -> None:
        self._connection = connection
        self._answer_timeout_s = answer_timeout_s
        self.run = b""

    async def connect(self, timeout_s: float) -> bool:
        """Be connected; whether this is a new connection."""
        async with asyncio.timeout(timeout_s):
            if self._connection.is_connected:
                # What can be read between two pipelines is the end of the connection.
                if not await self._connection.can_read():
                    return False
                await self.drop()
            await self._connection.connect()  # type: ignore[no-untyped-call]  # redis-py's
            return True

    async def drop(self) -> None:
        """Disconnect; the next use connects again."""
        self.run = b""
        await self._connection.disconnect(nowait=True)

    async def exchange(
        self, packed: Sequence[bytes], replies: int, patience_s: float = 0
    ) -> tuple[bytearray, bytes | None]:
        """The raw answer to packed commands, and the first error's text in it.

        Raises QueueUnavailable, then it is in doubt what was carried out. patience_s: how much
        later than usual the answer may come.
        """
        parser = self._connection._parser  # the class of it was ours to choose
        assert isinstance(parser, PipelineParser)
        try:
            async with asyncio.timeout(self._answer_timeout_s + patience_s):
                await self._connection.send_packed_command(packed, check_health=False)
                return await parser.read_raw(replies)
        except (RedisError, ReplyError, OSError) as error:
            await self.drop()
            raise unavailable(error) from error
        except BaseException:
            await self.drop()  # the rest of the answer would be taken for the next one
            raise

    async def replies(self, commands: Sequence[Command], patience_s: float = 0) -> list[Any]:
        """The replies to a pipeline, errors among them."""
        raw, _ = await self.exchange([push.pack(commands)], len(commands), patience_s)
        return parsed(raw, len(commands))

    async def ask(self, commands: Sequence[Command], patience_s: float = 0) -> list[Any]:
        """The replies to a pipeline without an error among them, or QueueUnavailable.

        Only that a stream has no group is left for the caller to judge.
        Commands that missed the function library are sent again behind it.
        """
        replies = await self.replies(commands, patience_s)
        missed = [i for i, reply in enumerate(replies) if is_missing_function(reply)]
        if missed:
            await self.load_functions()
            again = await self.replies([commands[i] for i in missed], patience_s)
            for i, reply in zip(missed, again, strict=True):
                replies[i] = reply
        await self.check(replies)
        return replies

    async def check(self, replies: Sequence[Any]) -> None:
        """Raise QueueUnavailable for the first error among replies."""
        for reply in replies:
            if isinstance(reply, Exception) and not is_missing_group(reply):
                if isinstance(reply, ReadOnlyError):
                    await self.drop()  # where there are Sentinels, they name another primary
                raise unavailable(reply)

    async def load_functions(self) -> None:
        """Load the function library, or the present one in the place of an older one."""
        (reply,) = await self.replies([(b"FUNCTION", b"LOAD", b"REPLACE", _library())])
        if isinstance(reply, OutOfMemoryError):
            return  # what is loaded already still drains the queue
        await self.check([reply])


class Links:
    """Connections to one server, a bounded number, kept while they are idle."""

    def __init__(self, url: str) -> None:
        self._source = Source(url, parser_class=PipelineParser, socket_read_size=READ_BYTES)
        self._idle: list[Link] = []
        self._room = asyncio.Semaphore(CONNECTIONS_MAX)
        self._prepared_run = b""
        self._looked_s = _NEVER_S
        self._warned = False
        self.closed = True

    def open(self) -> None:
        """Allow connections."""
        self.closed = False

    async def close(self) -> None:
        """Disconnect what is idle now, and what is in use when it comes back."""
        self.closed = True
        idle, self._idle = self._idle, []
        for link in idle:
            await link.drop()
        await self._source.close()

    def check_open(self) -> None:
        """Raise QueueUnavailable after close."""
        if self.closed:
            raise QueueUnavailable("the queue is closed: open it before using it")

    @asynccontextmanager
    async def link(self) -> AsyncIterator[Link]:
        """A connection for the block. Raises QueueUnavailable where there is none."""
        self.check_open()
        async with self._room:
            link = self._idle.pop() if self._idle else self._new()
            try:
                await self._prepare(link)
                yield link
            finally:
                if self.closed:
                    await link.drop()
                else:
                    self._idle.append(link)

    def _new(self) -> Link:
        return Link(self._source.connection(), self._source.answer_timeout_s)

    async def _prepare(self, link: Link) -> None:
        try:
            new = await link.connect(self._source.connect_timeout_s)
            if not new and link.run and time.monotonic() - self._looked_s < LOOK_S:
                return
            (info,) = await link.ask([(b"INFO",)])
        except (RedisError, OSError) as error:
            await link.drop()
            raise unavailable(error) from error
        except BaseException:
            await link.drop()
            raise
        found = facts(info)
        if not found.run:
            await link.drop()
            raise QueueUnavailable("what queue.url names shows no run_id: it must be Redis itself")
        if found.evicts and found.memory_max:
            # Every link looks again until this is over: none of them trusts an earlier look.
            self._looked_s = _NEVER_S
            await link.drop()
            raise QueueUnavailable(eviction(found))
        if found.evicts and not self._warned:
            log.warning("%s; it has no maxmemory yet, so nothing is lost so far", eviction(found))
        self._warned = found.evicts
        if found.run != self._prepared_run:
            await link.load_functions()
            self._prepared_run = found.run
        link.run = found.run
        self._looked_s = time.monotonic()


def parsed(raw: bytearray, replies: int) -> list[Any]:
    """The replies that a raw answer holds; bulk strings as bytes, errors as exceptions."""
    reader = hiredis.Reader(replyError=PipelineParser.parse_error)
    reader.feed(raw)  # type: ignore[arg-type]  # it takes any buffer
    return [reader.gets() for _ in range(replies)]


def _library() -> bytes:
    return resources.files("notify.queue.redis").joinpath("functions.lua").read_bytes()
