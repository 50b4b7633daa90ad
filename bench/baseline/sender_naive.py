"""The Sender that a good engineer writes first: threads, requests, one delivery at a time.

python -m bench.baseline.sender_naive REDIS_SOCKET TARGETS.json [--threads N]
"""

import argparse
import threading
import time
from pathlib import Path

import redis
import requests
from requests.adapters import HTTPAdapter

from bench.baseline.naive_queue import (
    QUEUE,
    TIMEOUT_S,
    UNDER_WAY,
    Target,
    headers_of,
    job_of,
    settle,
    targets_of,
)

# Deliveries a CPU second on one core: 530 with 1, 1 070 with 2, 1 000 with 4, 1 050 with 8, 900
# with 16 and 32. Real endpoints take their time, so not the fewest of the best.
THREADS = 4
CONNECTIONS = 64


def work(client: "redis.Redis", targets: dict[int, Target]) -> None:
    """Deliver for ever. A session of its own: sessions are not for several threads."""
    session = requests.Session()
    session.trust_env = False  # or it looks for proxies and .netrc at each request
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_connections=CONNECTIONS, pool_maxsize=CONNECTIONS))
    while True:
        raw = client.blmove(QUEUE, UNDER_WAY, 1, "LEFT", "RIGHT")
        if raw is None:
            continue
        job = job_of(raw)
        target = targets[job.subscription]
        began, code, error = time.monotonic(), 0, ""
        try:
            answer = session.post(
                target.url,
                data=job.payload,
                headers=headers_of(job, target),
                timeout=TIMEOUT_S,
                allow_redirects=False,
            )
            code = answer.status_code
        except requests.RequestException as problem:
            error = str(problem)
        pipe = client.pipeline(transaction=True)
        settle(pipe, job, code, error, began)
        pipe.execute()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("socket")
    parser.add_argument("targets", type=Path)
    parser.add_argument("--threads", type=int, default=THREADS)
    asked = parser.parse_args()
    client = redis.Redis(unix_socket_path=asked.socket)
    targets = targets_of(asked.targets)
    for _ in range(asked.threads):
        threading.Thread(target=work, args=(client, targets), daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
