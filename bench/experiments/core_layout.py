"""Chunks as msgpack beside a layout of fixed fields: `python -m bench.experiments.core_layout`.

The prototype's item is 52 bytes of numbers and lengths in native order, then the texts and bytes;
it checks what the core's own reader checks. A chunk of 100 deliveries, each way the best of rounds.
"""

import time
from collections.abc import Callable
from pathlib import Path

from bench.experiments.core_prototype import compiled
from notify_core import chunk
from notify_core.records import DeliveryRecord
from tests.instructions.jobs import messages

ROWS = 100
CALLS = 2000
ROUNDS = 9
PROTOTYPE = Path(__file__).with_suffix(".pyx")


def main() -> None:
    """Both ways, in turn."""
    fixed = compiled(PROTOTYPE)
    deliveries = [DeliveryRecord(0, message) for message in messages(ROWS)]
    packed, laid_out = chunk.pack_deliveries(1, deliveries), fixed.pack(1, deliveries)
    assert fixed.unpack(laid_out) == chunk.unpack_deliveries(packed) == (1, deliveries)
    ways: dict[str, Callable[[], object]] = {
        "msgpack pack": lambda: chunk.pack_deliveries(1, deliveries),
        "fixed pack": lambda: fixed.pack(1, deliveries),
        "msgpack unpack": lambda: chunk.unpack_deliveries(packed),
        "fixed unpack": lambda: fixed.unpack(laid_out),
    }
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for name, call in ways.items():
            begun = time.process_time()
            for _ in range(CALLS):
                call()
            best[name] = min(best[name], time.process_time() - begun)
    for name, cpu_s in best.items():
        print(f"{name:16}{1e9 * cpu_s / CALLS / ROWS:6.0f} ns a delivery")
    print(f"bytes a delivery: msgpack {len(packed) / ROWS:.1f}, fixed {len(laid_out) / ROWS:.1f}")


if __name__ == "__main__":
    main()
