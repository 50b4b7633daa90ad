"""The disk under SQLite is full: refused with 503, nothing lost, and it goes on by itself."""

import random
import resource
import time
from pathlib import Path

import httpx
import pytest

from tests.chaos import small_disk
from tests.chaos.book import Book
from tests.chaos.load import TYPES, Load
from tests.chaos.receivers import Consumers
from tests.chaos.round import Row
from tests.support.http_api import HttpApi
from tests.support.process import Instance, environment
from tests.support.waiting import until

pytestmark = pytest.mark.chaos

TOKEN = "chaos-admin-token-0123456789"
RETRY = {"initial_ms": 100, "factor": 1.5, "max_ms": 1000, "attempts": 100}
PER_S = 1000
REFUSALS = 20
MORE = 500


def make_room(way: str, pid: int, data_dir: Path) -> None:
    if way == "mount":
        # As that process sees it.
        Path(f"/proc/{pid}/root{data_dir / small_disk.BALLAST}").unlink()
    else:
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)


async def start(way: str, data_dir: Path) -> Instance:
    child = (str(Path(small_disk.__file__)), way, str(data_dir))
    it = Instance(data_dir, environment(API__ADMIN_TOKEN=TOKEN), child)
    try:
        return await it.__aenter__()
    except AssertionError:
        if await it.program.wait() == small_disk.NOT_ALLOWED:
            pytest.skip("this user may not mount; the limit of file sizes shows the same")
        raise


@pytest.mark.parametrize("way", ["mount", "limit"])
def test_a_full_disk(run, tmp_path, seed, rows, way):
    data_dir = tmp_path / "data"
    row = Row(f"disk full ({way})", "steady")

    async def scenario():
        it = await start(way, data_dir)
        try:
            async with Consumers(seed) as consumers, HttpApi(it.url, TOKEN) as api:
                await fill_and_make_room(it, consumers, api)
            assert await it.terminate() == 0
            assert "Traceback" not in it.program.stderr
        finally:
            await it.kill()

    async def fill_and_make_room(it, consumers, api):
        shop = await api.producer()
        to_all = tuple(
            [
                await api.subscribe(shop, consumer, name, retry=RETRY)
                for name, consumer in consumers.by_name.items()
            ]
        )
        book = Book(dict.fromkeys(TYPES, to_all))
        load = Load(it.url, shop["api_key"], book, random.Random(seed))
        try:
            load.start(PER_S)
            await until(lambda: load.refused >= REFUSALS, "503 of a full disk", 60)
            async with httpx.AsyncClient(trust_env=False) as client:
                assert (await client.get(it.url + "/healthz")).status_code == 200
            rows.append(row)
            accepted = load.accepted
            make_room(way, it.program.pid, data_dir)
            room_at = time.monotonic()
            await until(lambda: load.accepted >= accepted + MORE, "accepted again", 60)
            row.recovery_s = time.monotonic() - room_at
            await load.stop()
            load.check()
            await api.settled(3 * load.accepted, 60)
            row.settled_s = time.monotonic() - room_at
        finally:
            await load.close()
        book.take(await consumers.taken())
        row.messages, row.deliveries = load.accepted, len(book.first_taken)
        row.lost, row.doubled = len(book.owed(time.monotonic())), len(book.again)
        assert row.lost == row.doubled == 0
        assert not book.unpromised

    run(scenario())
