"""The Sender that a good engineer writes second: aiohttp on uvloop, 64 deliveries at a time.

python -m bench.baseline.sender_aiohttp REDIS_SOCKET TARGETS.json

Jobs are taken and settled in pipelines of what there is, so that Redis is not what holds it.
"""

import argparse
import asyncio
import time
from pathlib import Path

import aiohttp
import redis.asyncio
import uvloop

from bench.baseline.naive_queue import (
    QUEUE,
    TIMEOUT_S,
    UNDER_WAY,
    Job,
    Target,
    headers_of,
    job_of,
    settle,
    targets_of,
)

CONCURRENCY = 64
PAUSE_S = 0.01

Settled = tuple[Job, int, str, float]


async def take(client: "redis.asyncio.Redis", jobs: "asyncio.Queue[Job]") -> None:
    """Keep jobs at hand: some are asked for as soon as those before are begun or wait here."""
    while True:
        pipe = client.pipeline(transaction=False)
        for _ in range(CONCURRENCY):
            pipe.lmove(QUEUE, UNDER_WAY, "LEFT", "RIGHT")
        found = [job_of(raw) for raw in await pipe.execute() if raw is not None]
        for job in found:
            await jobs.put(job)
        if not found:
            await asyncio.sleep(PAUSE_S)


async def mark(client: "redis.asyncio.Redis", ended: "asyncio.Queue[Settled]") -> None:
    """Settle what has ended within PAUSE_S in one pipeline."""
    while True:
        some = [await ended.get()]
        await asyncio.sleep(PAUSE_S)
        while not ended.empty():
            some.append(ended.get_nowait())
        pipe = client.pipeline(transaction=True)
        for job, code, error, began in some:
            settle(pipe, job, code, error, began)
        await pipe.execute()


async def work(
    session: aiohttp.ClientSession,
    targets: dict[int, Target],
    jobs: "asyncio.Queue[Job]",
    ended: "asyncio.Queue[Settled]",
) -> None:
    while True:
        job = await jobs.get()
        target = targets[job.subscription]
        began, code, error = time.monotonic(), 0, ""
        try:
            async with session.post(
                target.url,
                data=job.payload,
                headers=headers_of(job, target),
                allow_redirects=False,
            ) as answer:
                await answer.read()
                code = answer.status
        except (aiohttp.ClientError, TimeoutError) as problem:
            error = str(problem)
        ended.put_nowait((job, code, error, began))


async def run(socket: str, targets: dict[int, Target]) -> None:
    client = redis.asyncio.Redis(unix_socket_path=socket)
    jobs: asyncio.Queue[Job] = asyncio.Queue(CONCURRENCY)
    ended: asyncio.Queue[Settled] = asyncio.Queue()
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONCURRENCY),
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        ) as session,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(take(client, jobs))
        group.create_task(mark(client, ended))
        for _ in range(CONCURRENCY):
            group.create_task(work(session, targets, jobs, ended))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("socket")
    parser.add_argument("targets", type=Path)
    asked = parser.parse_args()
    uvloop.run(run(asked.socket, targets_of(asked.targets)))


if __name__ == "__main__":
    main()
