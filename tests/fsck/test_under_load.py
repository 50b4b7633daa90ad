"""Services at work over MariaDB and Redis: whenever fsck looks, nothing is wrong."""

import asyncio
import logging
import os
import time

from notify.domain.ports import Answer, Endpoint
from notify.embedded.services import Services
from notify.queue.redis import RedisQueue
from notify.runtime.clock import SystemClock, SystemRandom
from notify.storage.mysql import MysqlStorage
from notify_core import receive
from notify_core.body import Limits
from tests.fsck.conftest import DATABASE
from tests.fsck.ground import Ground
from tests.support.answers import Answering, Told

# NOTIFY_TEST_LOOKS=500 for a longer run.
LOOKS = int(os.environ.get("NOTIFY_TEST_LOOKS", "8"))
REQUESTS = 1500
LASTS_S = 6.0
# A commit and the push behind it may take long on a busy machine.
GRACE_MS = 3000


class Consumers(Answering):
    """Most answer at once; some fail, some ask to be left alone, some take their time."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = 0

    def answer(self, endpoint: Endpoint, head: bytes, body: bytes, timeout_ms: int) -> Told:
        self.requests += 1
        turn = self.requests % 50
        if turn == 7:
            return 0.0, Answer(500, b"", "")
        if self.requests % 500 == 8:
            return 0.0, Answer(503, b"", "1")
        return 0.3 if turn == 9 else 0.0, Answer(200, b"", "")


def test_nothing_is_wrong_while_everything_moves(
    shared_ground: Ground, run, server, shared_redis, caplog
):
    ground = shared_ground

    async def scenario() -> None:
        clock, consumers = SystemClock(), Consumers()
        services = Services(
            ground.config,
            MysqlStorage(server.options(DATABASE)),
            RedisQueue(shared_redis.url, clock),
            consumers,
            clock,
            SystemRandom(),
            "load",
        )
        await services.start()
        stop = False

        async def send() -> None:
            body = b"[" + b",".join([b'{"type":"order.paid","payload":{"n":1}}'] * 10) + b"]"
            while not stop:
                batch = receive.parse(body, "application/json", Limits())
                await services.acceptor.accept(batch, ground.producer_id, len(body))
                await asyncio.sleep(0.01)

        senders = [asyncio.create_task(send()) for _ in range(2)]
        reports = []
        began = time.monotonic()
        while (
            len(reports) < LOOKS
            or consumers.requests < REQUESTS
            or time.monotonic() < began + LASTS_S
        ):
            fsck = ground.fsck(clock=clock, grace_ms=GRACE_MS, settle_s=0.5)
            reports.append(await fsck.run(repair=len(reports) % 2 == 1))
        lasted = time.monotonic() - began
        stop = True
        await asyncio.gather(*senders)
        await services.stop()
        for report in reports:
            assert report.clean, report.findings
            assert report.findings == []
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
        print(f"\n{consumers.requests} requests, {len(reports)} looks in {lasted:.1f} s")

    run(scenario())
