"""One blow after the other on a running system, each judged before the next."""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tests.chaos.faults import Fault, Strike
from tests.chaos.system import System
from tests.support.receiver import Key

BURST: Final = 2000
DELIVERED_S: Final = 240.0
SETTLED_S: Final = 240.0


@dataclass
class Row:
    """A line of the table. in_flight: how many deliveries the fault may have doubled."""

    fault: str
    load: str
    messages: int = 0
    deliveries: int = 0
    lost: int = 0
    doubled: int = 0
    in_flight: int = 0
    recovery_s: float = float("nan")
    settled_s: float = float("nan")


class Round:
    """Strikes a system and keeps the rows, also of a blow that it did not survive."""

    def __init__(self, system: System, seed: int, rows: list[Row]) -> None:
        self._system = system
        self._random = random.Random(seed)
        self._rows = rows
        self._in_flight: set[Key] = set()

    def shuffled(self, faults: Sequence[Fault]) -> list[Fault]:
        """All of them in a drawn order."""
        return self._random.sample(faults, len(faults))

    def drawn(self, faults: Sequence[Fault]) -> list[Fault]:
        """One or two of them, with different targets."""
        first, second = self._random.choice(faults), self._random.choice(faults)
        return [first] if first.target == second.target else [first, second]

    async def strike(self, faults: Sequence[Fault]) -> None:
        """Strike all at once under a load, wait for the recovery, judge.

        Lost is what was accepted before the system was whole again and does not arrive.
        Recovered is who has delivered all that, and a message that was accepted afterwards.
        Settled is where the database knows it, too: then the next fault cannot be blamed.
        """
        system, book = self._system, self._system.book
        bursting = self._random.random() < 0.5
        row = Row(" + ".join(fault.name for fault in faults), "burst" if bursting else "steady")
        self._rows.append(row)
        sys.stdout.write(f"{datetime.now():%H:%M:%S.%f} {row.fault}, {row.load} load\n")
        accepted, arrived, again = system.load.accepted, len(book.first_taken), len(book.again)
        burst = asyncio.create_task(system.load.burst(BURST if bursting else 1))
        strikes = [Strike(system, random.Random(self._random.random())) for _ in faults]
        began, unmarked = 0.0, set[Key]()
        try:
            await asyncio.sleep(0.1 + 0.9 * self._random.random())  # the moment is drawn as well
            began, unmarked = await system.now(), system.unmarked()
            async with asyncio.TaskGroup() as group:
                for fault, strike in zip(faults, strikes, strict=True):
                    group.create_task(fault.inflict(strike))
            over = max(strike.over_at for strike in strikes)
            await system.load.send(1)
            await system.delivered(time.monotonic(), DELIVERED_S)
            row.recovery_s = time.monotonic() - over
            await burst
            await system.settled(SETTLED_S)
            row.settled_s = time.monotonic() - over
        finally:
            burst.cancel()
            row.lost = len(book.owed(max(strike.over_at for strike in strikes)))
            row.messages = system.load.accepted - accepted
            row.deliveries = len(book.first_taken) - arrived
            hit = max(strike.hit_at for strike in strikes)
            in_flight = book.in_flight(began, hit, unmarked)
            in_flight = in_flight.union(*(strike.claimed for strike in strikes))
            row.in_flight = len(in_flight)
            row.doubled = len(book.again) - again
            self._in_flight |= in_flight
        strangers = [one for one in book.again[again:] if one.key not in self._in_flight]
        assert not strangers, f"{len(strangers)} doubled, not in flight: {strangers[:5]}"

    async def account(self) -> None:
        """At the end: all that was promised and nothing else was delivered, and is known so."""
        system, book = self._system, self._system.book
        await system.load.stop()
        await system.delivered(time.monotonic(), DELIVERED_S)
        await system.settled(SETTLED_S)
        assert not book.unpromised
        assert system.stored_messages() == set(book.ids.values())
        assert system.statuses() == {"delivered": len(book.first_taken)}
        for service in system.all_services:
            assert await service.terminate() == 0, service.last_words
            assert not service.bugs, service.bugs[0]
        fsck = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "notify", "fsck", "--json", "--grace-ms", "0"],
            env=system.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert fsck.returncode == 0, fsck.stdout + fsck.stderr
