"""fsck cut off anywhere in a repair, with or without the step done: the next run makes it whole."""

import asyncio
from typing import Any

import pytest

from notify.domain.errors import QueueUnavailable, StorageUnavailable
from notify.domain.ports import Difference
from notify_core.records import DELIVERED
from tests.conformance.storage.samples import checked_ledger, outcome
from tests.fsck.ground import Ground, Nobody

REPAIRS = {
    "correct_ledger": StorageUnavailable,
    "forget_rows": StorageUnavailable,
    "push": QueueUnavailable,
    "replace": QueueUnavailable,
}


class Cut:
    """A port of which one call is the process's last, before or after it is carried out."""

    def __init__(self, port: object, name: str, done: bool) -> None:
        self._port = port
        self._name = name
        self._done = done
        self.cut = False

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._port, name)
        if name != self._name:
            return call

        async def last(*arguments: Any) -> Any:
            if self._done:
                await call(*arguments)
            self.cut = True
            raise REPAIRS[name]("cut off")

        return last


async def damage(ground: Ground) -> None:
    made = await ground.queued(6)
    await ground.push(1, made[:2])
    await ground.finish([outcome(made[3], 1, DELIVERED)])
    await ground.deliveries(3)
    await ground.store(3)
    await ground.storage.correct_ledger(0, {1: Difference(5, 5, 0, 0, 0)})


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("name", REPAIRS)
def test_cut_off_in_the_middle_of_a_repair(ground: Ground, run, name: str, done: bool) -> None:
    async def scenario() -> None:
        await damage(ground)
        storage, queue = Cut(ground.storage, name, done), Cut(ground.queue, name, done)
        with pytest.raises(REPAIRS[name]):
            await ground.fsck(storage=storage, queue=queue).run(repair=True)
        assert storage.cut or queue.cut
        await ground.repair()
        await checked_ledger(ground.storage)

    run(scenario())


def test_two_at_once_repair_once(ground: Ground, run) -> None:
    async def scenario() -> None:
        await damage(ground)
        reports = await asyncio.gather(*(ground.fsck().run(repair=True) for _ in range(2)))
        assert all(report.findings for report in reports)
        # Each of them may have met a repair of the other's half done; afterwards all is well.
        assert await ground.check() == {}
        await checked_ledger(ground.storage)

    run(scenario())


def test_stopped_while_it_counts(ground: Ground, run, monkeypatch) -> None:
    """The thread that counts ends at its next page, so the storage can be closed."""
    for module in ("mysql", "sqlite"):
        monkeypatch.setattr(f"notify.storage.{module}.audit.PAGE_ROWS", 1)

    async def scenario() -> None:
        await ground.queued(30)
        loop, counting = asyncio.get_running_loop(), asyncio.Event()

        class Watcher(Nobody):
            def step(self, what: str, done: int, total: int) -> None:
                super().step(what, done, total)
                loop.call_soon_threadsafe(counting.set)

        watcher = Watcher()
        task = asyncio.create_task(ground.fsck(watcher=watcher).run(repair=False))
        await counting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ground.storage.close()
        assert len(watcher.steps) < 60

    run(scenario())
