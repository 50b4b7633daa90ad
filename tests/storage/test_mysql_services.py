"""All services over a MySQL that an operator or a failover makes useless for a while.

While it lasts nothing is promised (503) and nothing is logged with a traceback; afterwards
everything goes on by itself: no process is started anew.
"""

import logging

import pytest

from notify.api.problems import answer_of
from notify.config import load
from notify.domain.errors import StorageError, StorageRefused, StorageUnavailable
from notify.domain.model import Subscription
from notify.embedded.services import Services
from notify.queue.memory import MemoryQueue
from notify.runtime.clock import SystemClock, SystemRandom
from notify.storage.mysql import MysqlStorage
from notify.transport import HttpTransport
from notify_core import receive
from notify_core.body import Limits
from tests.conformance.storage.samples import new_consumer
from tests.servers.mariadb import PASSWORD, Mariadb
from tests.storage.conftest import DATABASE
from tests.support.receiver import Receiver
from tests.support.waiting import until

# What begins it, what ends it, which error it is, and what the log says to do. What connections
# know of their user they know until they end.
KILL = "KILL USER notify"
QUOTED = PASSWORD.replace("'", "''")
TROUBLES = {
    "read-only": (
        ["SET GLOBAL read_only = 1"],
        ["SET GLOBAL read_only = 0"],
        StorageUnavailable,
        "make it writable",
    ),
    "no schema": (
        [f"RENAME TABLE {DATABASE}.biz_msg TO {DATABASE}.away"],
        [f"RENAME TABLE {DATABASE}.away TO {DATABASE}.biz_msg"],
        StorageUnavailable,
        "run `notify migrate`",
    ),
    "settings": (
        ["SET GLOBAL sql_mode = 'NO_BACKSLASH_ESCAPES'", KILL],
        ["SET GLOBAL sql_mode = DEFAULT"],
        StorageUnavailable,
        "take it out of sql_mode",
    ),
    "rights": (
        ["REVOKE INSERT ON `nt\\_%`.* FROM notify@'%'", KILL],
        ["GRANT INSERT ON `nt\\_%`.* TO notify@'%'", KILL],
        StorageRefused,
        "grant SELECT, INSERT",
    ),
    "password": (
        ["ALTER USER notify@'%' IDENTIFIED BY 'other'", KILL],
        [f"ALTER USER notify@'%' IDENTIFIED BY '{QUOTED}'"],
        StorageRefused,
        "refuses the user or password",
    ),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_services_wait_and_go_on(server: Mariadb, mysql, run, caplog, trouble: str) -> None:
    begin, end, kind, advice = TROUBLES[trouble]
    config = load(environ={}, flags={"sender.allow_cidrs": ["127.0.0.0/8"]})
    clock, random = SystemClock(), SystemRandom()

    async def send(it: Services, producer_id: int, n: int) -> None:
        body = b'[{"type":"order.paid","payload":{"n":%d}}]' % n
        batch = receive.parse(body, "application/json", Limits())
        await it.acceptor.accept(batch, producer_id, len(body))

    async def scenario() -> None:
        storage, queue = MysqlStorage(server.options(DATABASE)), MemoryQueue(clock)
        transport = HttpTransport(config.sender)
        it = Services(config, storage, queue, transport, clock, random, "test")
        await it.start()
        async with Receiver() as receiver:
            producer_id = await subscribed(it, receiver)
            for n in range(5):
                await send(it, producer_id, n)
            await receiver.holding(5)
            server.sql(*begin)
            try:
                for n in range(5):
                    with pytest.raises(kind) as caught:
                        await send(it, producer_id, n)
                    assert isinstance(caught.value, StorageError)
                    assert answer_of(caught.value).status == 503
            finally:
                server.sql(*end)

            async def sent() -> bool:
                try:
                    await send(it, producer_id, 5)
                except StorageError:
                    return False
                return True

            await until(sent, "a message is accepted again")
            await receiver.holding(6)
            await it.stop()
            assert len(receiver.taken) == 6, "what was refused was not stored"

    with caplog.at_level(logging.INFO):
        run(scenario())
    assert advice in caplog.text
    assert not any(record.exc_info for record in caplog.records)


async def subscribed(it: Services, receiver: Receiver) -> int:
    """A producer with one subscription; its id."""
    now_ms = it.clock.now_ms()
    producer = await it.storage.add_producer("shop", "hash", now_ms)
    consumer = await it.storage.add_consumer(
        new_consumer("crm", url=receiver.url, secrets=(receiver.secret,))
    )
    await it.storage.add_subscription(
        Subscription(
            id=0,
            producer_id=producer.id,
            consumer_id=consumer.id,
            created_ms=now_ms,
            updated_ms=now_ms,
        )
    )
    await it.directory.refresh()
    return producer.id
