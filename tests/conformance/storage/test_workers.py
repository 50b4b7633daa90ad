"""Worker numbers and notes."""

import asyncio

import pytest

from notify.domain.errors import Busy
from notify.domain.ports import Storage
from tests.conformance.storage.backends import Backend, Run
from tests.conformance.storage.samples import ID_MAX, NOW

TTL = 30_000


def test_a_lease_says_until_when(storage: Storage, run: Run) -> None:
    lease = run(storage.lease_worker("me", NOW, TTL))
    assert 0 <= lease.worker <= 255
    assert lease.expires_ms == NOW + TTL
    assert lease.floor_ms <= NOW


def test_running_leases_never_share_a_number(storage: Storage, run: Run) -> None:
    owners = ["a", "b", "a", "a", "c"]
    leases = [run(storage.lease_worker(owner, NOW, TTL)) for owner in owners]
    assert len({lease.worker for lease in leases}) == len(owners)


def test_concurrent_leases_never_share_a_number(storage: Storage, run: Run) -> None:
    async def race() -> set[int]:
        leases = await asyncio.gather(
            *(storage.lease_worker(f"owner {n}", NOW, TTL) for n in range(40))
        )
        return {lease.worker for lease in leases}

    assert len(run(race())) == 40


def test_all_256_can_be_taken_and_no_more(storage: Storage, run: Run) -> None:
    async def take_all() -> list[int]:
        return [(await storage.lease_worker("me", NOW, TTL)).worker for _ in range(256)]

    assert sorted(run(take_all())) == list(range(256))
    with pytest.raises(Busy) as busy:
        run(storage.lease_worker("other", NOW + TTL - 1, TTL))
    assert busy.value.retry_after_s >= 1
    assert 0 <= run(storage.lease_worker("other", NOW + TTL, TTL)).worker <= 255


def test_a_number_that_ran_out_has_a_floor_at_its_end(storage: Storage, run: Run) -> None:
    async def take_all() -> None:
        for _ in range(256):
            await storage.lease_worker("gone", NOW, TTL)

    run(take_all())
    later = NOW + TTL + 5
    lease = run(storage.lease_worker("new", later, TTL))
    assert NOW + TTL <= lease.floor_ms <= later


def test_a_renewed_lease_lasts(storage: Storage, run: Run) -> None:
    lease = run(storage.lease_worker("me", NOW, TTL))
    assert run(storage.renew_worker(lease, "me", NOW + TTL - 1, TTL))

    async def others() -> set[int]:
        return {(await storage.lease_worker("x", NOW + TTL + 5, TTL)).worker for _ in range(255)}

    assert lease.worker not in run(others())
    with pytest.raises(Busy):
        run(storage.lease_worker("x", NOW + TTL + 5, TTL))


def test_nobody_renews_for_somebody_else(storage: Storage, run: Run) -> None:
    lease = run(storage.lease_worker("me", NOW, TTL))
    assert not run(storage.renew_worker(lease, "other", NOW, TTL))
    assert not run(storage.renew_worker(lease._replace(worker=200), "me", NOW, TTL))


def test_a_lost_lease_is_not_renewed(storage: Storage, run: Run) -> None:
    lost = run(storage.lease_worker("me", NOW, TTL))

    async def take_all() -> list[int]:
        later = NOW + TTL
        return [(await storage.lease_worker("me", later, TTL)).worker for _ in range(256)]

    assert lost.worker in run(take_all())
    # The same owner holds the number by a later lease: the earlier one is over all the same.
    assert not run(storage.renew_worker(lost, "me", NOW + TTL, TTL))
    run(storage.release_worker(lost, "me", NOW))
    with pytest.raises(Busy):
        run(storage.lease_worker("other", NOW + TTL, TTL))


def test_a_released_number_is_free_above_its_floor(storage: Storage, run: Run) -> None:
    async def take_all() -> list[object]:
        return [await storage.lease_worker("me", NOW, TTL) for _ in range(256)]

    leases = run(take_all())
    for _ in range(2):
        run(storage.release_worker(leases[9], "me", NOW + 3))
    assert not run(storage.renew_worker(leases[9], "me", NOW + 1, TTL))
    again = run(storage.lease_worker("other", NOW + 4, TTL))
    assert again.worker == leases[9].worker
    assert again.floor_ms == NOW + 3
    run(storage.release_worker(leases[9], "me", NOW + 99))
    with pytest.raises(Busy):
        run(storage.lease_worker("third", NOW + 5, TTL))


def test_a_floor_never_falls(storage: Storage, run: Run) -> None:
    async def take_all() -> list[object]:
        return [await storage.lease_worker("me", NOW, TTL) for _ in range(256)]

    lease = run(take_all())[0]
    run(storage.release_worker(lease, "me", NOW + 500))
    second = run(storage.lease_worker("b", NOW + 600, TTL))
    run(storage.release_worker(second, "b", 0))
    assert run(storage.lease_worker("c", NOW + 700, TTL)).floor_ms == NOW + 500


def test_leases_outlive_a_restart(durable: Backend, run: Run) -> None:
    lease = run(durable.storage.lease_worker("me", NOW, TTL))
    storage = run(durable.reopen())
    assert run(storage.lease_worker("me", NOW + 1, TTL)).worker != lease.worker
    assert run(storage.renew_worker(lease, "me", NOW + 2, TTL))


def test_a_note_is_0_at_first_and_then_what_was_set(storage: Storage, run: Run) -> None:
    assert run(storage.note("progress")) == 0
    for value in (5, 5, ID_MAX, 0, 3):
        run(storage.set_note("progress", value))
        assert run(storage.note("progress")) == value
    run(storage.set_note("进度 ✓", 8))
    assert run(storage.note("progress")) == 3
    assert run(storage.note("进度 ✓")) == 8


def test_notes_outlive_a_restart(durable: Backend, run: Run) -> None:
    run(durable.storage.set_note("progress", 77))
    assert run(run_note(durable)) == 77


async def run_note(durable: Backend) -> int:
    return await (await durable.reopen()).note("progress")
