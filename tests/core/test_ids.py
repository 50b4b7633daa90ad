import importlib
import os
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

pure = importlib.import_module("notify_core.pure.ids")
core = pure if os.environ.get("NOTIFY_PURE") == "1" else importlib.import_module("notify_core.ids")
both = pytest.mark.parametrize("ids", list(dict.fromkeys([core, pure])))

NOW_MS = 1_800_000_000_000
LAST_MS = pure.EPOCH_MS + (1 << 41) - 1  # the end of the 41 bits


@both
def test_an_id_holds_its_moment_and_its_worker(ids):
    (made,) = ids.IdMaker(worker=200, seed=1).make_many(NOW_MS, 1)
    assert 0 < made < 1 << 63
    assert ids.id_ms(made) == NOW_MS
    assert made >> 14 & 255 == 200
    assert ids.id_floor(NOW_MS) <= made < ids.id_floor(NOW_MS + 1)


@both
def test_ids_of_one_worker_are_unique_and_rise(ids):
    maker = ids.IdMaker(3, seed=1)
    made = [number for ms in range(50) for number in maker.make_many(NOW_MS + ms, 200)]
    assert made == sorted(set(made))


@both
def test_workers_never_meet(ids):
    made = [ids.IdMaker(worker, seed=1).make_many(NOW_MS, 256) for worker in range(256)]
    assert len(set().union(*made)) == 256 * 256


@both
def test_more_than_256_in_a_millisecond_borrow_the_next_one(ids):
    maker = ids.IdMaker(3, seed=1)
    made = maker.make_many(NOW_MS, 257)
    assert ids.id_ms(made[255]) == NOW_MS
    assert ids.id_ms(made[256]) == maker.last_ms == NOW_MS + 1
    assert maker.make_many(NOW_MS, 1)[0] > made[-1]


@both
def test_a_clock_that_steps_back_is_not_followed(ids):
    maker = ids.IdMaker(3, seed=1)
    before = maker.make_many(NOW_MS, 1)
    after = maker.make_many(NOW_MS - 60_000, 300)
    assert after == sorted(after)
    assert after[0] > before[0]
    assert ids.id_ms(after[-1]) == NOW_MS + 1


@both
def test_a_floor_keeps_clear_of_the_former_holder_of_the_worker_number(ids):
    maker = ids.IdMaker(3, seed=1, floor_ms=NOW_MS)
    assert ids.id_ms(maker.make_many(NOW_MS - 5, 1)[0]) == NOW_MS + 1


@both
@pytest.mark.parametrize("shards", [*range(2, 17), 32, 64])
def test_one_id_a_millisecond_spreads_evenly_over_shards(ids, shards):
    maker = ids.IdMaker(3, seed=7)
    counts = Counter(maker.make_many(NOW_MS + 2 * i, 1)[0] % shards for i in range(1000 * shards))
    assert len(counts) == shards
    assert max(counts.values()) <= 1.1 * 1000


@both
def test_ids_beyond_the_range_are_refused_and_cost_none(ids):
    maker = ids.IdMaker(3, seed=1)
    assert len(maker.make_many(LAST_MS, 255)) == 255
    with pytest.raises(ValueError, match="2093"):
        maker.make_many(LAST_MS, 2)
    assert maker.make_many(LAST_MS, 1)[0] < 1 << 63
    with pytest.raises(ValueError, match="2093"):
        maker.make_many(LAST_MS + 1, 1)


@both
@pytest.mark.parametrize("worker", [-1, 256, 1 << 70])
def test_a_worker_number_has_eight_bits(ids, worker):
    with pytest.raises(ValueError, match=r"worker must be 0\.\.255"):
        ids.IdMaker(worker, seed=1)


@both
def test_floors_before_the_epoch_are_zero(ids):
    assert ids.id_floor(0) == ids.id_floor(ids.EPOCH_MS) == 0


@given(
    worker=st.integers(0, 255),
    seed=st.integers(),
    floor_ms=st.integers(-(1 << 70), 1 << 70) | st.integers(NOW_MS - 3, NOW_MS + 3),
    calls=st.lists(
        st.tuples(
            st.integers(-(1 << 70), 1 << 70) | st.integers(NOW_MS - 3, NOW_MS + 3),
            st.integers(-1, 600),
        ),
        max_size=6,
    ),
)
def test_the_twins_make_the_same_ids(worker, seed, floor_ms, calls):
    makers = core.IdMaker(worker, seed, floor_ms), pure.IdMaker(worker, seed, floor_ms)
    assert makers[0].worker == makers[1].worker
    for now_ms, n in calls:
        made = [_made(maker, now_ms, n) for maker in makers]
        assert made[0] == made[1]
        assert makers[0].last_ms == makers[1].last_ms


def _made(maker, now_ms, n):
    try:
        return maker.make_many(now_ms, n)
    except ValueError as error:
        return str(error)


@given(st.integers(0, (1 << 63) - 1), st.integers(-(1 << 63), 1 << 63))
def test_the_twins_read_ids_alike(message_id, ms):
    assert core.id_ms(message_id) == pure.id_ms(message_id)
    assert core.id_floor(ms) == pure.id_floor(ms)
