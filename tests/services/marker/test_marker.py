"""The Marker: outcomes into the database, once, however often they come."""

import asyncio
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from notify.domain.errors import StorageUnavailable
from notify.domain.model import DeliveryStatus
from notify.domain.ports import Push
from notify_core import chunk
from notify_core.records import DELIVERED, DROPPED, QUEUED, REASON_EXHAUSTED, OutcomeRecord
from tests.services.rig import MARK, Rig, counts


async def outcome_chunk(r: Rig, ids: list[int]) -> bytes:
    """The first delivered, the second dropped, the third to be tried again."""
    now = r.clock.now_ms()
    return chunk.pack_outcomes(
        [
            # Delivered at once: the delivery itself says it all, there is nothing to log.
            OutcomeRecord(ids[0], 1, DELIVERED, 1, now, 0, 5, 200, 0, "", b"ok"),
            OutcomeRecord(ids[1], 1, DROPPED, 3, now, 0, 5, 500, REASON_EXHAUSTED, "bad", b""),
            OutcomeRecord(ids[2], 1, QUEUED, 1, now, now + 500, 5, 0, 0, "dns: nobody", b""),
        ]
    )


def test_outcomes_are_written_and_let_go(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        made = await r.queued(4)
        await r.queue.push([Push(MARK, await outcome_chunk(r, made), 3)])
        marker = r.marker()
        await marker.chunks.step(r.stopping)
        assert marker.outcomes == 3
        assert (await r.gauge(MARK)).depth == 0
        assert counts(await r.account()) == (1, 1, 2, 0)
        assert (await r.delivery(made[0])).status is DeliveryStatus.DELIVERED
        assert (await r.delivery(made[2])).due_ms == r.clock.now_ms() + 500
        assert [len(await r.storage.attempts(id_)) for id_ in made] == [0, 1, 1, 0]

    simulate(work())


def test_outcomes_that_come_again_change_nothing(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        made = await r.queued(4)
        packed = await outcome_chunk(r, made)
        await r.queue.push([Push(MARK, packed, 3)])
        # A first Marker dies between its commit and the acknowledgement.
        [claim] = await r.queue.claim([MARK], "dead", 10)
        await r.storage.mark([claim.chunk])
        before = [await r.delivery(id_) for id_ in made]
        await r.queue.push([Push(MARK, packed, 3)])
        await r.clock.sleep(r.config.queue.lease_ms / 1000)
        marker = r.marker()
        await marker.chunks.tend()
        await marker.chunks.step(r.stopping)
        await marker.chunks.step(r.stopping)
        assert (await r.gauge(MARK)).depth == 0
        assert [await r.delivery(id_) for id_ in made] == before
        assert [len(await r.storage.attempts(id_)) for id_ in made] == [0, 1, 1, 0]
        assert counts(await r.account()) == (1, 1, 2, 0)

    simulate(work())


def test_an_outage_of_the_database_keeps_the_outcomes(simulate: Any) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        made = await r.queued(4)
        await r.queue.push([Push(MARK, await outcome_chunk(r, made), 3)])
        marker, mark = r.marker(), r.storage.mark

        async def away(chunks: Any) -> None:
            raise StorageUnavailable("away")

        r.storage.mark = away  # type: ignore[method-assign]
        with pytest.raises(StorageUnavailable):
            await marker.chunks.step(r.stopping)
        assert (await r.gauge(MARK)).depth == 3
        r.storage.mark = mark  # type: ignore[method-assign]
        await marker.chunks.step(r.stopping)
        assert counts(await r.account()) == (1, 1, 2, 0)
        assert marker.outcomes == 3

    simulate(work())


def test_a_damaged_chunk_does_not_hold_up_the_others(
    simulate: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        r = Rig()
        await r.open()
        made = await r.queued(4)
        good = await outcome_chunk(r, made)
        await r.queue.push([Push(MARK, b"\xc1", 7), Push(MARK, good, 3)])
        await r.marker().chunks.step(r.stopping)
        assert (await r.gauge(MARK)).depth == 0
        assert counts(await r.account()) == (1, 1, 2, 0)

    simulate(work())
    assert "left to the Rescuer" in caplog.text


def test_workers_of_a_process_share_the_stream_and_are_counted_together(simulate: Any) -> None:
    async def work() -> None:
        r = Rig(**{"marker.batch_chunks_max": 1})
        await r.open()
        for _ in range(4):
            made = await r.queued(4)
            await r.queue.push([Push(MARK, await outcome_chunk(r, made), 3)])
        markers = [r.marker(f"marker.{number}") for number in range(2)]
        registry = CollectorRegistry()
        markers[0].export(registry, markers[1:])
        while (await r.gauge(MARK)).depth:
            await asyncio.gather(*(marker.chunks.step(r.stopping) for marker in markers))
        assert counts(await r.account()) == (4, 4, 8, 0)
        assert min(marker.outcomes for marker in markers) > 0
        assert registry.get_sample_value("notify_marker_outcomes_total") == 12

    simulate(work())
