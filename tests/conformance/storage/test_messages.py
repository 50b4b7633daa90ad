"""Messages and idempotency keys."""

import asyncio

import pytest

from notify.domain.model import Message
from notify.domain.ports import Storage
from tests.conformance.storage.backends import Backend, Run
from tests.conformance.storage.samples import ID_MAX, NOW, batch, message_ids


@pytest.mark.parametrize("size", [1, 2, 99, 1000, 2500])
def test_a_batch_of_any_size_is_stored(storage: Storage, run: Run, size: int) -> None:
    ids = message_ids(size)
    inserted = run(storage.insert_messages(batch(ids), NOW))
    assert inserted.ids == ids
    assert inserted.fresh == list(range(size))
    assert run(storage.payloads(ids)) == {id_: b'{"n":%d}' % id_ for id_ in ids}
    assert run(storage.last_message_id()) == ids[-1]


def test_an_empty_batch_is_nothing(storage: Storage, run: Run) -> None:
    assert run(storage.insert_messages(batch([]), NOW)) == ([], [])
    assert run(storage.last_message_id()) == 0


def test_a_message_is_read_as_it_was_stored(storage: Storage, run: Run) -> None:
    made = batch(
        [5],
        producer=3,
        types=["订单.已付款"],
        content_types=["application/msgpack"],
        headers=['{"x-a":"1","x-b":"ü"}'.encode()],
        keys=["schlüssel-🔑"],
        ordering_keys=["客户-1"],
        deliver_ms=[NOW + 1],
        expires_ms=[NOW + 2],
        payloads=[bytes(range(256))],
    )
    run(storage.insert_messages(made, NOW))
    assert run(storage.message(5)) == Message(
        id=5,
        producer_id=3,
        type="订单.已付款",
        content_type="application/msgpack",
        headers={"x-a": "1", "x-b": "ü"},
        key="schlüssel-🔑",
        ordering_key="客户-1",
        deliver_ms=NOW + 1,
        expires_ms=NOW + 2,
        payload=bytes(range(256)),
    )


def test_a_plain_message_has_empty_fields(storage: Storage, run: Run) -> None:
    run(storage.insert_messages(batch([5]), NOW))
    message = run(storage.message(5))
    assert (message.content_type, message.headers, message.key) == ("", {}, "")
    assert (message.deliver_ms, message.expires_ms) == (0, 0)


def test_what_is_not_stored_is_absent(storage: Storage, run: Run) -> None:
    run(storage.insert_messages(batch([5]), NOW))
    assert run(storage.message(6)) is None
    assert run(storage.payloads([])) == {}
    assert set(run(storage.payloads([4, 5, 6, 5, ID_MAX]))) == {5}


def test_payloads_may_be_empty_large_and_binary(storage: Storage, run: Run) -> None:
    payloads = [b"", b"\0", b"'\\\x1a\n\"%s", b"\xff" * 1_048_576]
    run(storage.insert_messages(batch([1, 2, 3, 4], payloads=payloads), NOW))
    assert run(storage.payloads([4, 3, 2, 1])) == dict(enumerate(payloads, 1))


def test_ids_reach_63_bits(storage: Storage, run: Run) -> None:
    made = batch([1, ID_MAX], deliver_ms=[ID_MAX, 0], expires_ms=[0, ID_MAX])
    assert run(storage.insert_messages(made, NOW)).ids == [1, ID_MAX]
    assert run(storage.message(ID_MAX)).expires_ms == ID_MAX
    assert run(storage.last_message_id()) == ID_MAX


def test_batches_of_several_producers_go_together(storage: Storage, run: Run) -> None:
    made = batch([1, 2], producer=1, keys=["k", "l"])
    made.extend(batch([3, 4], producer=2, keys=["k", ""]))
    assert run(storage.insert_messages(made, NOW)) == ([1, 2, 3, 4], [0, 1, 2, 3])
    assert run(storage.message(3)).producer_id == 2


def test_the_same_key_is_one_message(storage: Storage, run: Run) -> None:
    assert run(storage.insert_messages(batch([1], keys=["k"]), NOW)) == ([1], [0])
    again = batch([2], keys=["k"], payloads=[b"another"])
    assert run(storage.insert_messages(again, NOW + 10**9)) == ([1], [])
    assert run(storage.message(2)) is None
    assert run(storage.last_message_id()) == 1


def test_a_batch_mixes_new_known_and_keyless_messages(storage: Storage, run: Run) -> None:
    run(storage.insert_messages(batch([1, 2], keys=["a", "b"]), NOW))
    made = batch([11, 12, 13, 14, 15], keys=["", "b", "c", "a", "c"])
    inserted = run(storage.insert_messages(made, NOW))
    assert inserted.ids == [11, 2, 13, 1, 13]
    assert inserted.fresh == [0, 2]
    assert set(run(storage.payloads(range(20)))) == {1, 2, 11, 13}


def test_a_key_twice_in_one_batch_keeps_the_first(storage: Storage, run: Run) -> None:
    made = batch([1, 2, 3], keys=["k", "k", "k"], payloads=[b"1", b"2", b"3"])
    assert run(storage.insert_messages(made, NOW)) == ([1, 1, 1], [0])
    assert run(storage.payloads([1, 2, 3])) == {1: b"1"}


def test_a_key_belongs_to_its_producer(storage: Storage, run: Run) -> None:
    run(storage.insert_messages(batch([1], producer=1, keys=["k"]), NOW))
    assert run(storage.insert_messages(batch([2], producer=2, keys=["k"]), NOW)) == ([2], [0])
    # Producer and key are not simply strung together.
    run(storage.insert_messages(batch([3], producer=1, keys=["2:k"]), NOW))
    assert run(storage.insert_messages(batch([4], producer=12, keys=["k"]), NOW)) == ([4], [0])


@pytest.mark.parametrize(
    "keys",
    [
        ["a", "A", "á", "a\u0301", "a ", " a"],
        ["1", "01", "1.0", "1e0", "0x1"],
        ["%", "_", "'", '"', "\\", "null", "[]"],
        ["🔑" * 32, "🔑" * 31 + "🗝", "k" * 128, "k" * 127],
    ],
)
def test_keys_differ_by_every_byte(storage: Storage, run: Run, keys: list[str]) -> None:
    ids = list(range(1, len(keys) + 1))
    everything = list(range(len(keys)))
    assert run(storage.insert_messages(batch(ids, keys=keys), NOW)) == (ids, everything)
    others = [id_ + 100 for id_ in ids]
    assert run(storage.insert_messages(batch(others, keys=keys), NOW)) == (ids, [])


def test_a_batch_whose_answer_got_lost_may_be_repeated(storage: Storage, run: Run) -> None:
    made = batch([1, 2, 3], keys=["", "k", ""])
    run(storage.insert_messages(made, NOW))
    assert run(storage.insert_messages(made, NOW)).ids == [1, 2, 3]
    longer = batch([1, 2, 3, 4], keys=["", "k", "", ""], payloads=[b"other"] * 4)
    answer = run(storage.insert_messages(longer, NOW))
    assert answer.ids == [1, 2, 3, 4]
    assert 3 in answer.fresh
    assert run(storage.message(1)).payload == b'{"n":1}'
    assert len(run(storage.payloads([1, 2, 3, 4]))) == 4


def test_the_last_id_is_the_highest_not_the_latest(storage: Storage, run: Run) -> None:
    run(storage.insert_messages(batch([50]), NOW))
    run(storage.insert_messages(batch([40]), NOW))
    assert run(storage.last_message_id()) == 50


def test_concurrent_batches_with_one_key_agree(storage: Storage, run: Run) -> None:
    async def race() -> list[int]:
        answers = await asyncio.gather(
            *(storage.insert_messages(batch([id_], keys=["k"]), NOW) for id_ in range(1, 21))
        )
        assert sum(len(answer.fresh) for answer in answers) == 1
        return [answer.ids[0] for answer in answers]

    ids = run(race())
    assert len(set(ids)) == 1
    assert set(run(storage.payloads(range(1, 21)))) == set(ids)


def test_reads_and_writes_go_side_by_side(storage: Storage, run: Run) -> None:
    async def both() -> None:
        async def write(number: int) -> None:
            ids = [number * 100 + n + 1 for n in range(50)]
            await storage.insert_messages(batch(ids), NOW)
            assert len(await storage.payloads(ids)) == 50  # committed when it returned

        await asyncio.gather(*(write(n) for n in range(10)))

    run(both())


def test_messages_and_keys_outlive_a_restart(durable: Backend, run: Run) -> None:
    run(durable.storage.insert_messages(batch([1, 2], keys=["k", ""]), NOW))
    storage = run(durable.reopen())
    assert set(run(storage.payloads([1, 2]))) == {1, 2}
    assert run(storage.insert_messages(batch([3], keys=["k"]), NOW)) == ([1], [])
