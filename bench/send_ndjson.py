"""Send an NDJSON file of messages through Notify; show that every byte arrives, once.

Each line is an object {"type": "…", "payload": <any JSON>}. Every line is sent as a request of
its own, then all lines as one batch (several only where a batch would exceed the Api's default
bounds). Real HTTP endpoints receive them and verify every signature with the public
`standardwebhooks` package. A payload has to arrive as exactly the bytes that the line holds.

    python bench/send_ndjson.py FILE              starts `notify up` on a temporary directory
    python bench/send_ndjson.py FILE --url http://127.0.0.1:8470 --admin-token …
                                                  the running one must be allowed to call loopback

Exit code 1 where anything is lost, doubled, changed or not verified.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import os
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
from standardwebhooks import Webhook, WebhookVerificationError

BODY_BYTES_MAX = 8 << 20  # api.body_bytes_max
ITEMS_MAX = 1000  # api.batch_items_max
SENDERS = 16
START_S = 20.0
UP = "Notify is up at "


class Line(msgspec.Struct, forbid_unknown_fields=True):
    """One message; payload is the slice of the file's bytes."""

    type: str
    payload: msgspec.Raw


class Receiver:
    """An endpoint that takes everything and keeps what came, by message id."""

    def __init__(self) -> None:
        self.secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        self.bodies: dict[int, bytes] = {}
        self.types: dict[int, str] = {}
        self.times: Counter[int] = Counter()
        self.verified: set[int] = set()
        self.last_at = time.monotonic()
        self._came = asyncio.Event()
        self._webhook = Webhook(self.secret)
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve at the URL that this gives."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()

    async def holding(self, count: int, timeout_s: float) -> None:
        """Return when so many messages came, or at time-out."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while len(self.times) < count:
                    self._came.clear()
                    await self._came.wait()

    async def silence(self, seconds: float) -> None:
        """Return when nothing came for so long."""
        with contextlib.suppress(TimeoutError):
            while True:
                self._came.clear()
                async with asyncio.timeout(seconds):
                    await self._came.wait()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._session(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                    lines = [line.split(": ", 1) for line in head.split("\r\n")[1:-2]]
                    headers = {name.lower(): text for name, text in lines}
                    body = await reader.readexactly(int(headers["content-length"]))
                    self._take(headers, body)
                    writer.write(b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n")
                    await writer.drain()
        finally:
            writer.transport.abort()

    def _take(self, headers: dict[str, str], body: bytes) -> None:
        message = int(headers["webhook-id"])
        self.last_at = time.monotonic()
        self.times[message] += 1
        self.bodies[message] = body
        self.types[message] = headers["notify-event-type"]
        with contextlib.suppress(WebhookVerificationError):
            self._webhook.verify(body, headers, json_parse=False)
            self.verified.add(message)
        self._came.set()


class Api:
    """The calls that this needs."""

    def __init__(self, url: str, token: str) -> None:
        limits = httpx.Limits(max_connections=SENDERS)
        self._client = httpx.AsyncClient(base_url=url, timeout=60, limits=limits, trust_env=False)
        self._token = token

    async def make(self, path: str, body: dict[str, Any]) -> Any:
        headers = {"authorization": f"Bearer {self._token}"}
        answer = await self._client.post(path, json=body, headers=headers)
        if answer.status_code != 201:
            raise SystemExit(f"POST {path} answered {answer.status_code}: {answer.text}")
        return answer.json()

    async def send(self, key: str, body: bytes, content_type: str) -> list[int]:
        """Have messages accepted, again while the Api is full; their ids."""
        headers = {"authorization": f"Bearer {key}", "content-type": content_type}
        while True:
            answer = await self._client.post("/v1/messages", content=body, headers=headers)
            if answer.status_code not in (429, 503):
                break
            await asyncio.sleep(float(answer.headers.get("retry-after", "1")))
        if answer.status_code != 202:
            raise SystemExit(f"POST /v1/messages answered {answer.status_code}: {answer.text}")
        return [int(id_) for id_ in answer.json()["ids"]]

    async def close(self) -> None:
        await self._client.aclose()


@contextlib.asynccontextmanager
async def started() -> AsyncIterator[tuple[str, str]]:
    """A `notify up` of our own on a temporary directory: its URL and admin token."""
    token = secrets.token_urlsafe(16)
    environ = {name: text for name, text in os.environ.items() if not name.startswith("NOTIFY_")}
    environ |= {
        "NOTIFY_SENDER__ALLOW_CIDRS": "127.0.0.0/8",
        "NOTIFY_API__ADMIN_TOKEN": token,
        "NOTIFY_RUNTIME__LOG_LEVEL": "warning",
    }
    with tempfile.TemporaryDirectory(prefix="notify-send-") as data_dir:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "notify", "up", "--data-dir", data_dir, "--port", "0",
            stdout=asyncio.subprocess.PIPE, env=environ,
        )  # fmt: skip
        try:
            assert process.stdout
            async with asyncio.timeout(START_S):
                said = (await process.stdout.readline()).decode()
            if not said.startswith(UP):
                raise SystemExit("notify up did not start")
            yield said.removeprefix(UP).split(",")[0].strip(), token
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.communicate()


def read(file: Path) -> tuple[list[bytes], list[Line]]:
    """The lines of the file that are not blank, as bytes and as messages."""
    sources, lines = [], []
    for number, text in enumerate(file.read_bytes().split(b"\n"), 1):
        source = text.strip()
        if not source:
            continue
        try:
            lines.append(msgspec.json.decode(source, type=Line))
        except msgspec.DecodeError as error:
            raise SystemExit(f"line {number}: {error}") from None
        sources.append(source)
    return sources, lines


def batches(sources: list[bytes]) -> Iterator[list[bytes]]:
    """All lines as one batch, or as few as the Api's bounds allow."""
    batch: list[bytes] = []
    size = 0
    for source in sources:
        if batch and (len(batch) == ITEMS_MAX or size + len(source) + 1 > BODY_BYTES_MAX):
            yield batch
            batch, size = [], 0
        batch.append(source)
        size += len(source) + 1
    if batch:
        yield batch


async def singly(api: Api, key: str, sources: list[bytes]) -> tuple[list[int], int]:
    """Every line in a request of its own; the ids in order, and the number of requests."""
    ids: list[int] = [0] * len(sources)
    todo = iter(enumerate(sources))

    async def sender() -> None:
        for index, source in todo:
            [ids[index]] = await api.send(key, source, "application/json")

    async with asyncio.TaskGroup() as group:
        for _ in range(SENDERS):
            group.create_task(sender())
    return ids, len(sources)


async def as_batch(api: Api, key: str, sources: list[bytes]) -> tuple[list[int], int]:
    """All lines in one NDJSON body."""
    ids: list[int] = []
    requests = 0
    for batch in batches(sources):
        ids += await api.send(key, b"\n".join(batch), "application/x-ndjson")
        requests += 1
    return ids, requests


async def measured(
    api: Api, name: str, file: Path, timeout_s: float, settle_s: float
) -> dict[str, Any]:
    """Send the file in one of the two ways to a receiver of its own; what came of it."""
    sources, lines = read(file)
    receiver = Receiver()
    tag = f"{name}-{secrets.token_hex(4)}"
    async with receiver.serving() as url:
        producer = await api.make("/v1/producers", {"name": tag})
        consumer = await api.make(
            "/v1/consumers", {"name": tag, "url": url, "secret": receiver.secret}
        )
        await api.make(
            "/v1/subscriptions", {"producer_id": producer["id"], "consumer_id": consumer["id"]}
        )
        begun = time.monotonic()
        way = singly if name == "singly" else as_batch
        ids, requests = await way(api, producer["api_key"], sources)
        accepted_s = time.monotonic() - begun
        await receiver.holding(len(ids), timeout_s)
        await receiver.silence(settle_s)  # for what might come twice
    equal = sum(
        receiver.bodies.get(id_) == bytes(line.payload) and receiver.types[id_] == line.type
        for id_, line in zip(ids, lines, strict=True)
    )
    return {
        "way": name,
        "requests": requests,
        "sent": len(lines),
        "bytes": sum(len(bytes(line.payload)) for line in lines),
        "arrived": len(set(ids) & set(receiver.times)),
        "equal": equal,
        "verified": len(set(ids) & receiver.verified),
        "duplicates": sum(receiver.times.values()) - len(receiver.times),
        "lost": len(set(ids) - set(receiver.times)) + len(ids) - len(set(ids)),
        "unasked": len(set(receiver.times) - set(ids)),
        "accepted_s": round(accepted_s, 3),
        "arrived_s": round(receiver.last_at - begun, 3),
    }


def fine(row: dict[str, Any]) -> bool:
    """Everything arrived once, as it was, and verified."""
    return row["sent"] == row["arrived"] == row["equal"] == row["verified"] and not (
        row["duplicates"] or row["lost"] or row["unasked"]
    )


def table(rows: list[dict[str, Any]]) -> str:
    """The rows for a reader."""
    heads = {
        "way": "way", "requests": "requests", "sent": "sent", "bytes": "bytes",
        "arrived": "arrived", "equal": "byte for byte", "verified": "verified",
        "duplicates": "duplicates", "lost": "lost", "unasked": "unasked",
        "accepted_s": "accepted s", "arrived_s": "arrived s",
    }  # fmt: skip
    widths = {n: max(len(h), *(len(str(row[n])) for row in rows)) for n, h in heads.items()}
    lines = ["  ".join(head.rjust(widths[name]) for name, head in heads.items())]
    lines += ["  ".join(str(row[name]).rjust(widths[name]) for name in heads) for row in rows]
    return "\n".join(lines)


async def run(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Both ways, one after the other."""
    async with contextlib.AsyncExitStack() as stack:
        url, token = arguments.url, arguments.admin_token
        if not url:
            url, token = await stack.enter_async_context(started())
        api = Api(url, token)
        stack.push_async_callback(api.close)
        return [
            await measured(api, name, arguments.file, arguments.timeout_s, arguments.settle_s)
            for name in ("singly", "as a batch")
        ]


def main() -> int:
    """Print what came of it; 0 where everything is as it should be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path, help="NDJSON, each line with type and payload")
    parser.add_argument("--url", default="", help="a running Notify [default: start one]")
    parser.add_argument("--admin-token", default="", help="its admin token")
    parser.add_argument("--timeout-s", type=float, default=60.0, help="how long to wait at most")
    parser.add_argument("--settle-s", type=float, default=1.0, help="silence that means the end")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    if bool(arguments.url) != bool(arguments.admin_token):
        parser.error("--url and --admin-token belong together")
    rows = asyncio.run(run(arguments))
    ok = bool(rows[0]["sent"]) and all(fine(row) for row in rows)
    if arguments.json:
        print(json.dumps({"ok": ok, "ways": rows}))
    else:
        print(table(rows))
        print("Every payload arrived once, byte for byte, verified." if ok else "DIFFERENCES.")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
