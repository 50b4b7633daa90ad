"""Several processes share one stream: each chunk comes out once, also where one of them dies."""

import asyncio
import sys
from pathlib import Path

from notify.domain.ports import Push, Stream, StreamKind

WORKER = Path(__file__).with_name("redis_worker.py")
STREAM = Stream(StreamKind.SUBSCRIPTION, 1)


async def worker(url, name, pushes, end="stay"):
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(WORKER), url, name, str(pushes), end,
        stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""},
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, out.decode().splitlines()


def test_each_chunk_comes_out_once(run, serve, connect):
    server = serve()

    async def scenario():
        async with connect(server.url) as queue:
            await queue.begin_epoch("1")
            ends = await asyncio.gather(*(worker(server.url, f"w{n}", 200) for n in range(2)))
        assert [code for code, _ in ends] == [0, 0]
        lines = [line for _, out in ends for line in out]
        assert sorted(lines) == sorted(f"w{w} {n}" for w in range(2) for n in range(200))

    run(scenario())


def test_what_a_dead_process_held_is_taken_over(run, serve, connect):
    server = serve()

    async def scenario():
        async with connect(server.url) as queue:
            await queue.begin_epoch("1")
            await queue.push([Push(STREAM, b"%d" % n, 1) for n in range(5)])
            assert await worker(server.url, "dying", 0, "die") == (9, [])
            code, lines = await worker(server.url, "living", 0)
            assert code == 0
            assert sorted(lines) == [str(n) for n in range(5)]
            assert (await queue.gauges([STREAM]))[0].depth == 0

    run(scenario())
