"""Lost connections, restarts, locks and sizes: repeated once where that is right, never lost."""

import asyncio
import random
import threading
import time

import pymysql
import pytest

from notify.domain.errors import StorageRefused, StorageUnavailable
from notify.storage.mysql import MysqlStorage
from notify.storage.mysql.pool import Pool
from notify.storage.mysql.url import parse
from tests.conformance.storage.samples import (
    DELIVERED,
    INLINE,
    NOW,
    PENDING,
    QUEUED,
    account,
    batch,
    checked_ledger,
    chunks,
    grid,
    message_ids,
    outcome,
)
from tests.conformance.storage.test_conservation import Model
from tests.servers.mariadb import Mariadb
from tests.storage.conftest import DATABASE
from tests.support.cutting_proxy import CuttingProxy


@pytest.fixture
def remote(server: Mariadb, mysql: MysqlStorage, run):
    """A storage over TCP."""
    storage = MysqlStorage(parse(server.url(DATABASE, "?ssl_disabled=true")))
    run(storage.open())
    yield storage
    run(storage.close())


def test_it_goes_on_after_the_server_was_killed(server: Mariadb, remote: MysqlStorage, run) -> None:
    async def use_all() -> None:
        await asyncio.gather(*(remote.note(f"n{n}") for n in range(8)))

    run(use_all())
    run(remote.insert_messages(batch([1]), NOW))
    server.kill()
    for _ in range(2):
        with pytest.raises(StorageUnavailable, match=r"goes on by itself|cannot be reached"):
            run(remote.insert_messages(batch([2]), NOW))
    server.start()
    run(use_all())
    assert run(remote.insert_messages(batch([2]), NOW)) == ([2], [0])
    assert set(run(remote.payloads([1, 2]))) == {1, 2}


def test_a_restart_between_two_calls_is_not_noticed(
    server: Mariadb, remote: MysqlStorage, run
) -> None:
    async def use_all() -> None:
        await asyncio.gather(*(remote.insert_messages(batch([n]), NOW) for n in range(1, 9)))

    run(use_all())
    server.kill()
    server.start()
    # Every idle connection is dead now; each call is repeated once, on a new one.
    run(use_all())
    assert run(remote.last_message_id()) == 8


@pytest.fixture
def proxied(server: Mariadb, mysql: MysqlStorage, run):
    proxy = CuttingProxy(server.port)
    url = server.url(DATABASE, "?ssl_disabled=true&connections_max=1")
    storage = MysqlStorage(parse(url.replace(str(server.port), str(proxy.port))))
    run(storage.open())
    yield proxy, storage
    run(storage.close())
    proxy.close()


@pytest.mark.parametrize("after", [False, True])
def test_a_connection_cut_at_the_commit(proxied, mysql: MysqlStorage, run, after: bool) -> None:
    proxy, storage = proxied
    ids = message_ids(10)
    keys = [f"k{id_}" for id_ in ids]
    for word, call, cuts in (
        (b"COMMIT", lambda: storage.insert_messages(batch(ids, keys=keys), NOW), 1),
        (b"INSERT INTO biz_msg", lambda: storage.insert_messages(batch([5]), NOW), 2),
        (b"COMMIT", lambda: storage.insert_deliveries(grid(ids, [1, 2])), 3),
        (b"COMMIT", lambda: storage.mark(chunks(*(outcome(i, 1, DELIVERED) for i in ids))), 4),
        (b"COMMIT", lambda: storage.mark(chunks(*(outcome(i, 2, QUEUED) for i in ids))), 5),
        (b"COMMIT", lambda: storage.forget_queued(None, NOW + 99, NOW + 99), 6),
        (b"COMMIT", lambda: storage.set_queued(2, ids[:5], NOW + 99), 7),
        (b"COMMIT", lambda: storage.add_producer("p", "h", NOW), 8),
    ):
        proxy.cut(word, after=after)
        if word == b"COMMIT" and after and cuts == 8:
            with pytest.raises(Exception, match="named 'p'"):
                run(call())  # its own, which it cannot know: the operator sees it there
        else:
            answer = run(call())
            if cuts <= 2:
                assert answer.fresh == list(range(len(answer.ids)))
            elif cuts == 3:
                assert answer == set(), "its own rows, which nobody else pushes"
        assert proxy.cuts == cuts
    assert run(checked_ledger(mysql)) == {
        1: account(1, delivered=10),
        2: account(2, queued=5, pending=5),
    }
    assert len(run(mysql.attempts(ids[0], 2))) == 1
    assert len(run(mysql.payloads([*ids, 5]))) == 11
    assert len(run(mysql.directory()).producers) == 1


def test_a_connection_that_is_killed_in_a_transaction(server: Mariadb, mysql, run) -> None:
    killed = []

    def kill(statement: bytes) -> None:
        if statement.startswith(b"INSERT INTO ledger") and not killed:
            for row in server.sql("SHOW PROCESSLIST"):
                if row[1] == "notify":
                    killed.append(row[0])
                    server.sql(f"KILL {row[0]}")

    storage = MysqlStorage(server.options(DATABASE, "&connections_max=1"), record=kill)
    run(storage.open())
    run(storage.insert_deliveries(grid([1, 2], [1])))
    assert killed
    assert run(checked_ledger(storage)) == {1: account(1, queued=2)}
    run(storage.close())


def test_a_lock_is_waited_for_once_more(server: Mariadb, settings, mysql, run) -> None:
    settings(innodb_lock_wait_timeout=1)
    run(mysql.insert_deliveries(grid([1], [1])))
    storage = MysqlStorage(server.options(DATABASE))
    run(storage.open())
    other = pymysql.connect(
        unix_socket=server.socket, user="root", database=DATABASE, ssl_disabled=True
    )
    with other, other.cursor() as cursor:
        lock = "SELECT * FROM receive_msg WHERE msg_id = 1 FOR UPDATE"
        cursor.execute(lock)
        with pytest.raises(StorageUnavailable, match="another transaction"):
            run(storage.mark(chunks(outcome(1, 1, DELIVERED))))
        timer = threading.Timer(1.4, other.rollback)
        timer.start()
        run(storage.mark(chunks(outcome(1, 1, DELIVERED))))
        timer.join()
    assert run(checked_ledger(storage)) == {1: account(1, delivered=1)}
    run(storage.close())


def test_a_deadlock_is_done_again(server: Mariadb, mysql: MysqlStorage, run) -> None:
    run(mysql.insert_deliveries(grid([1, 2], [1])))
    pool = Pool(server.options(DATABASE))
    pool.open()
    meet = threading.Barrier(2)
    tries = []

    def crossing(first: int, second: int):
        def work(db) -> int:
            tries.append(first)
            db.rows("lock_states", 1, 1, [first])
            if len(tries) <= 2:
                meet.wait(10)
            return len(db.rows("lock_states", 1, 1, [second]))

        return work

    async def both() -> list[int]:
        return await asyncio.gather(pool.transact(crossing(1, 2)), pool.transact(crossing(2, 1)))

    assert run(both()) == [1, 1]
    assert len(tries) == 3
    run(pool.close())


def test_a_connection_is_not_tried_for_ever(server: Mariadb, run) -> None:
    pool = Pool(server.options(DATABASE))
    pool.open()
    tries = []

    def lost(code: int):
        def work(db) -> None:
            tries.append(db.retried)
            raise pymysql.err.OperationalError(code, "x")

        return work

    for code in (2013, 1429, 12701, 0):
        tries.clear()
        with pytest.raises(StorageUnavailable):
            run(pool.run(lost(code)))
        assert tries == [False, True]
    tries.clear()
    with pytest.raises(StorageRefused):
        run(pool.run(lost(1064)))
    assert tries == [False]
    run(pool.close())


def test_a_server_that_does_not_answer_is_given_up(server: Mariadb, mysql, run) -> None:
    storage = MysqlStorage(server.options(DATABASE, "&read_timeout_s=0.3&connections_max=1"))
    run(storage.open())
    began = time.monotonic()
    with pytest.raises(StorageUnavailable, match="was lost"):
        run(storage._pool.run(lambda db: db.change(b"SELECT SLEEP(5)")))
    assert time.monotonic() - began < 3
    assert run(storage.note("x")) == 0
    run(storage.close())


def test_connections_are_bounded(server: Mariadb, mysql: MysqlStorage, run) -> None:
    seen = set()
    meet = threading.Barrier(3)

    def work(db) -> None:
        seen.add(db)
        meet.wait(10)  # three at a time

    storage = MysqlStorage(server.options(DATABASE, "&connections_max=3"))
    run(storage.open())

    async def many() -> None:
        await asyncio.gather(*(storage._pool.run(work) for _ in range(21)))

    run(many())
    assert len(seen) == 3
    run(storage.close())


def test_a_batch_above_the_packet_size_is_split(
    server: Mariadb, settings, mysql: MysqlStorage, run
) -> None:
    settings(max_allowed_packet=131_072)
    storage = MysqlStorage(server.options(DATABASE))
    run(storage.open())
    ids = message_ids(400)
    run(storage.insert_messages(batch(ids, payloads=[b"'" * 1000] * 400), NOW))
    run(storage.insert_deliveries(grid(ids, range(1, 11))))
    failed = (outcome(id_, 1, QUEUED, error="x" * 500, response=b"\0" * 900) for id_ in ids)
    run(storage.mark(chunks(*failed)))
    assert len(run(storage.payloads(ids))) == 400
    assert len(run(checked_ledger(storage))) == 10
    # All or nothing: a message that fits into no statement stores none of its batch.
    sizes = [b"x", b"y" * 200_000]
    for keys in (["", ""], ["a", "b"]):
        with pytest.raises(StorageRefused, match=r"max_allowed_packet.*raise it"):
            run(storage.insert_messages(batch([1, 2], payloads=sizes, keys=keys), NOW))
    assert run(storage.payloads([1, 2])) == {}
    run(storage.insert_messages(batch([1], keys=["a"]), NOW))
    run(storage.close())


@pytest.mark.parametrize("seed", [1, 2])
def test_read_committed_conserves_every_delivery(
    server: Mariadb, settings, mysql: MysqlStorage, run, seed: int
) -> None:
    settings(tx_isolation="READ-COMMITTED")
    storage = MysqlStorage(server.options(DATABASE))
    run(storage.open())

    async def walk() -> None:
        model = Model(storage, random.Random(seed))
        await storage.insert_messages(batch(list(range(1, 31))), NOW)
        for _ in range(40):
            await model.step()
            await model.check()

    run(walk())
    run(storage.close())


def test_everything_at_once_on_the_same_rows(mysql: MysqlStorage, run) -> None:
    """Makers, Markers, feeders and Rescuers that overlap: the accounts stay exact."""
    ids = list(range(1, 61))
    run(mysql.insert_messages(batch(ids), NOW))

    async def storm() -> None:
        rng = random.Random(5)
        calls = []
        for n in range(60):
            part = rng.sample(ids, 25)
            calls += [
                mysql.insert_deliveries(grid(part, [1, 2, 3], rng.choice([QUEUED, PENDING]))),
                mysql.mark(chunks(*(outcome(id_, 1 + n % 3, DELIVERED) for id_ in part[:9]))),
                mysql.mark(chunks(*(outcome(id_, 1 + n % 3, QUEUED, n % 4) for id_ in part[5:]))),
                mysql.set_queued(1 + n % 3, part, NOW + n),
                mysql.forget_queued([1 + n % 3], NOW + n, NOW + n),
                mysql.ledger(),
                mysql.pending(1 + n % 3, NOW, 10, INLINE),
            ]
            if n % 10 == 0:
                calls.append(mysql.drop_pending(1 + n % 3, 2, NOW + n, 2))
        rng.shuffle(calls)
        await asyncio.gather(*calls)

    run(storm())
    ledger = run(checked_ledger(mysql))
    for sub_id, row in ledger.items():
        found = run(mysql.pending(sub_id, NOW * 2, 1000, INLINE))
        assert len(found) == row.pending
