"""Accepting and signing: the compiled core against its pure twin.

`pytest bench/test_core_receive.py`: each group holds one operation on one batch size, its two
rows are the twins, and the figures in brackets are the ratio. Batches are of messages with
600 bytes of JSON payload.
"""

import importlib
import json

import pytest

from notify_core.body import Limits

TWINS = {"pure": "notify_core.pure.", "compiled": "notify_core."}
NOW_MS = 1_800_000_000_000
ORDER = {
    "order_id": 7031000000000001,
    "status": "paid",
    "customer": {"id": 555, "city": "Łódź", "note": 'ring "twice"'},
    "lines": [{"sku": f"SKU-{i:05}", "n": i, "price": "19.90"} for i in range(10)],
}
PAYLOAD = json.dumps(ORDER, ensure_ascii=False).encode()
PAYLOAD += b" " * (600 - len(PAYLOAD))

pytestmark = pytest.mark.parametrize("twin", TWINS)
sizes = pytest.mark.parametrize("size", [1, 100, 500])


def body_of(size):
    items = [
        b'{"type":"order.paid","key":"order-%d","payload":%s}' % (i, PAYLOAD) for i in range(size)
    ]
    return b"[" + b",".join(items) + b"]"


def module(twin, name):
    return importlib.import_module(TWINS[twin] + name)


def stamped(twin, size):
    batch = module(twin, "receive").parse(body_of(size), "application/json", Limits())
    batch.stamp(7, [(NOW_MS << 20) + i for i in range(size)])
    return batch


@sizes
def test_parse(benchmark, twin, size):
    benchmark.group = f"receive.parse, {size}"
    parse, body = module(twin, "receive").parse, body_of(size)
    assert len(benchmark(parse, body, "application/json", Limits())) == size


@sizes
def test_chunk(benchmark, twin, size):
    benchmark.group = f"receive.Batch.chunk, {size}"
    assert len(benchmark(stamped(twin, size).chunk, 3, 65_536)) > 600 * size


@sizes
def test_insert_sql(benchmark, twin, size):
    benchmark.group = f"receive.Batch.insert_sql, {size}"
    assert len(benchmark(stamped(twin, size).insert_sql, False, 2000, 1 << 20)) == 1


@sizes
def test_make_ids(benchmark, twin, size):
    benchmark.group = f"ids.make_many, {size}"
    maker = module(twin, "ids").IdMaker(3, seed=1)
    assert len(benchmark(maker.make_many, NOW_MS, size)) == size


@pytest.mark.parametrize("keys", [1, 2])
def test_signature(benchmark, twin, keys):
    benchmark.group = f"sign.Signer.signature, {keys} keys"
    signer = module(twin, "sign").Signer([bytes([i]) * 32 for i in range(keys)])
    assert benchmark(signer.signature, "7031000000000001", NOW_MS // 1000, PAYLOAD)


def test_request_head(benchmark, twin):
    benchmark.group = "sign.request_head"
    sign = module(twin, "sign")
    prefix = b"POST /hooks/orders HTTP/1.1\r\nhost: shop.internal:8080\r\nuser-agent: notify\r\n"
    signer = sign.Signer([b"k" * 32])
    rest = ("7031000000000001", NOW_MS // 1000, "order.paid", "", 17, 1, b"", PAYLOAD)
    assert benchmark(sign.request_head, prefix, signer, *rest).endswith(b"\r\n\r\n")
