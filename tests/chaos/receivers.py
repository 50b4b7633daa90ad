"""Three consumers in a process of their own, so that nothing the test does slows them down.

`python -m tests.chaos.receivers SEED` serves until its input closes. It prints the consumers'
URLs and secrets, then answers each line of its input with a line: `down` hangs up and refuses
connections, `up` takes them again, `taken` tells what was answered 2xx since it was last asked.
"""

import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from tests.chaos.book import Taken
from tests.support.receiver import Answering, Receiver, Wire

START_S: Final = 60.0
ANSWER_S: Final = 60.0
LINE_BYTES_MAX: Final = 1 << 28
NAMES: Final = ("quick", "slow", "moody")
# Milliseconds that an answer takes at most, and how often it is a 500.
SLOWEST_MS: Final = 10
MANNERS: Final = {"quick": (0, 0.0), "slow": (SLOWEST_MS, 0.0), "moody": (3, 0.03)}


class Endpoint(NamedTuple):
    """As much of a Receiver as it takes to subscribe one of another process."""

    url: str
    secret: str


class Consumers:
    """The consumers' process as the test sees it. `async with` ends it."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._asking = asyncio.Lock()
        self.by_name: dict[str, Endpoint] = {}

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.chaos.receivers", str(self._seed),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            limit=LINE_BYTES_MAX,
        )  # fmt: skip
        told = await self._line(START_S)
        self.by_name = {name: Endpoint(*one) for name, one in zip(NAMES, told, strict=True)}
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.kill()
        await self._process.communicate()

    async def down(self) -> None:
        """Whatever is under way is cut off."""
        await self._ask("down")

    async def up(self) -> None:
        await self._ask("up")

    async def taken(self) -> list[Taken]:
        """What was answered 2xx since the last call."""
        return [Taken(*one) for one in await self._ask("taken")]

    async def _ask(self, word: str) -> Any:
        assert self._process.stdin
        async with self._asking:
            self._process.stdin.write(word.encode() + b"\n")
            return await self._line(ANSWER_S)

    async def _line(self, timeout_s: float) -> Any:
        assert self._process.stdout
        async with asyncio.timeout(timeout_s):
            return json.loads(await self._process.stdout.readline())


async def _serve(seed: int) -> None:
    generator = random.Random(seed)
    taken: list[Taken] = []
    receivers = [Receiver(_mannered(generator, taken, *MANNERS[name])) for name in NAMES]
    for receiver in receivers:
        await receiver.__aenter__()
    print(json.dumps([(receiver.url, receiver.secret) for receiver in receivers]), flush=True)
    while word := (await asyncio.to_thread(sys.stdin.readline)).strip():
        answer: list[Taken] = []
        for receiver in receivers:
            if word == "down":
                await receiver.__aexit__(None, None, None)
            elif word == "up":
                await receiver.__aenter__()
            assert not receiver.unverified, "a signature does not verify"
            receiver.arrivals.clear()  # so that hours of this fit into memory
        if word == "taken":
            answer, taken[:] = list(taken), []
        print(json.dumps(answer), flush=True)


def _mannered(
    generator: random.Random, taken: list[Taken], delay_ms: float, failing: float
) -> Answering:
    async def answering(wire: Wire) -> None:
        if delay_ms:
            await asyncio.sleep(generator.random() * delay_ms / 1000)
        if generator.random() < failing:
            await wire.answer(500)
            return
        # Before the answer: the consumer has it, whether its answer gets through or not.
        one = wire.arrival
        number = json.loads(one.body)["n"]
        taken.append(Taken(one.message, one.subscription, number, time.monotonic()))
        await wire.answer(204)

    return answering


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
