"""`notify demo`: everything in one command, in a temporary directory."""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import uvloop
from rich.console import Console
from rich.live import Live

from notify.cli.api_client import ApiClient
from notify.cli.demo.sale import Sale
from notify.cli.demo.screen import CAST, COUNTS, Screen, arrivals_table, ledger_table, percentile
from notify.config import Config, load
from notify.domain.errors import NotifyError
from notify.embedded import Notify

GIVE_UP_S: Final = 120.0
REDRAW_S: Final = 0.2


@click.command()
@click.option("--messages", default=6000, show_default=True, help="How many events to send.")
@click.option("--seed", default=1, show_default=True, help="Decides what is sent and what fails.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON only.")
def demo(messages: int, seed: int, as_json: bool) -> None:
    """Run a flash sale: one shop, three consumers, four subscriptions, nothing lost.

    Starts Notify embedded (one process, SQLite, in-memory queue) in a temporary directory and
    three consumers behind real HTTP endpoints in a second process. One consumer is healthy,
    one answers 503 now and then, one is slow; one subscription is filtered by type, one is
    paused and later resumed, one is discarded. Every signature is verified by the receiver.
    """
    console = Console(quiet=as_json, highlight=False)
    with tempfile.TemporaryDirectory(prefix="notify-demo-") as data_dir:
        result = uvloop.run(_run(console, Path(data_dir), messages, seed))
    if as_json:
        click.echo(msgspec.json.encode(result).decode())
    sys.exit(0 if result["ok"] else 1)


async def _run(console: Console, data_dir: Path, messages: int, seed: int) -> dict[str, Any]:
    config = load(
        environ={},
        flags={
            "storage.url": f"sqlite:///{data_dir}/notify.db",
            "api.port": 0,
            "sender.allow_cidrs": ["127.0.0.0/8"],
            "sender.response_bytes_max": 16 << 20,
            "sender.response_kept_bytes": 16 << 20,
            "runtime.log_level": "error",
        },
    )
    endpoints = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "notify.cli.demo.endpoints", str(seed)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert endpoints.stdin
    assert endpoints.stdout
    try:
        port = int(await endpoints.stdout.readline())
        async with Notify(config=config) as notify:
            return await _sell(console, notify, config, f"http://127.0.0.1:{port}", messages, seed)
    finally:
        endpoints.stdin.close()
        await endpoints.wait()


async def _sell(
    console: Console, notify: Notify, config: Config, endpoints_url: str, messages: int, seed: int
) -> dict[str, Any]:
    console.print(
        f"A flash sale of {messages:,} events. Notify runs at {notify.url},\n"
        f"three consumers in a second process at {endpoints_url}.\n\n{CAST}"
    )
    client = ApiClient(notify.url, config.sender)
    receivers = ApiClient(endpoints_url, config.sender)
    try:
        sale = Sale(client, notify.admin_token, endpoints_url, messages, seed)
        await sale.prepare()
        elapsed_s = await _show(console, sale)
        report = await receivers.call("GET", "/report", "")
        result = _result(sale, await sale.stats(), report, elapsed_s)
    finally:
        await client.close()
        await receivers.close()
    _print_result(console, result)
    return result


async def _show(console: Console, sale: Sale) -> float:
    """Sell and show it until everything has arrived; the seconds it took."""
    started = time.monotonic()
    screen = Screen(sale)
    selling = asyncio.create_task(sale.burst())
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            stats = await sale.stats()
            elapsed_s = time.monotonic() - started
            live.update(screen.render(stats, elapsed_s), refresh=True)
            if selling.done():
                await selling
                matched = sum(row["matched"] for row in stats.values())
                open_ = sum(row["queued"] + row["pending"] for row in stats.values())
                if not open_ and matched >= sale.accepted:
                    return elapsed_s
            if elapsed_s > GIVE_UP_S:
                selling.cancel()
                raise NotifyError(f"the demo is not done after {GIVE_UP_S:.0f} s; please report it")
            await asyncio.sleep(REDRAW_S)


def _result(
    sale: Sale, stats: dict[int, dict[str, Any]], report: dict[str, Any], elapsed_s: float
) -> dict[str, Any]:
    subscriptions, latencies_ms = [], []
    for line in sale.lines:
        row = stats[line.subscription_id]
        seen = report.get(str(line.subscription_id), {})
        latencies_ms += seen.get("latencies_ms", [])
        subscriptions.append(
            {
                "id": line.subscription_id,
                "title": line.title,
                **{name: row[name] for name in COUNTS},
                "balanced": row["matched"] == sum(row[name] for name in COUNTS[1:])
                and row["delivered"] == seen.get("delivered", 0),
                "arrived": seen.get("delivered", 0),
                "duplicates": seen.get("duplicates", 0),
                "bad_signatures": seen.get("bad_signatures", 0),
                "refused": seen.get("refused", 0),
                "latencies_ms": sorted(seen.get("latencies_ms", [])),
            }
        )
    latencies_ms.sort()
    delivered = sum(row["delivered"] for row in subscriptions)
    return {
        "ok": all(
            row["balanced"] and not row["duplicates"] and not row["bad_signatures"]
            for row in subscriptions
        ),
        "accepted": sale.accepted,
        "accepted_per_s": round(sale.accepted / sale.burst_s),
        "delivered": delivered,
        "delivered_per_s": round(delivered / elapsed_s),
        "duplicates": sum(row["duplicates"] for row in subscriptions),
        "seconds": round(elapsed_s, 2),
        "latency_ms": {
            name: percentile(latencies_ms, share)
            for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
        },
        "subscriptions": subscriptions,
    }


def _print_result(console: Console, result: dict[str, Any]) -> None:
    rows = result["subscriptions"]
    latency = result["latency_ms"]
    console.print(ledger_table([row["title"] for row in rows], rows))
    console.print(arrivals_table(rows))
    console.print(
        f"accepted   {result['accepted']:,} messages, {result['accepted_per_s']:,} a second\n"
        f"delivered  {result['delivered']:,} in {result['seconds']} s, "
        f"{result['delivered_per_s']:,} a second, {result['duplicates']} duplicates\n"
        f"latency    p50 {latency['p50']} ms, p95 {latency['p95']} ms, p99 {latency['p99']} ms"
        " over all, the pause included\n"
    )
    console.print(
        "[green]Everything is accounted for.[/]"
        if result["ok"]
        else "[red]The account does not balance: this is a bug, please report it.[/]"
    )
