"""A process that consumes one stream until it is empty: run by test_redis_processes.py.

Arguments: URL, worker name, chunks to push to the stream before consuming, "die" to stop
without a word after the first claim. Prints each chunk that it acknowledged.
"""

import asyncio
import os
import sys

from notify.domain.ports import Push, Stream, StreamKind
from notify.queue.redis import RedisQueue
from notify.runtime.clock import SystemClock

STREAM = Stream(StreamKind.SUBSCRIPTION, 1)
IDLE_MS = 300


async def main(url: str, worker: str, pushes: int, die: bool) -> None:
    queue = RedisQueue(url, SystemClock())
    await queue.open()
    for n in range(pushes):
        await queue.push([Push(STREAM, f"{worker} {n}".encode(), 1)])
    while True:
        claims = await queue.claim([STREAM], worker, 3)
        claims += await queue.takeover([STREAM], worker, IDLE_MS, 3)
        if claims and die:
            os._exit(9)
        await queue.ack(claims)
        for claim in claims:
            print(claim.chunk.decode(), flush=True)
        if not claims:
            if not (await queue.gauges([STREAM]))[0].depth:
                break
            await queue.wait([STREAM], worker, 0.05)
    await queue.close()


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "die"))
