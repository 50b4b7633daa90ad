"""`notify up`: the embedded product as a process."""

import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Any

import click
import uvloop

import notify_core
from notify.config import Config, load
from notify.domain.errors import NotifyError
from notify.embedded import DATA_FILE, Notify
from notify.embedded.admin_token import FILE
from notify.runtime.process import tune_gc
from notify.storage import sqlite_url


@click.command()
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where database and admin token are kept.  [default: as NOTIFY_STORAGE__URL says]",
)
@click.option("--host", help="Address to listen on.  [NOTIFY_API__HOST; default: 127.0.0.1]")
@click.option("--port", type=int, help="Port, 0: any free one.  [NOTIFY_API__PORT; default: 8470]")
@click.option("--config", "file", type=click.Path(path_type=Path), help="A TOML file to read.")
def up(data_dir: Path | None, host: str | None, port: int | None, file: Path | None) -> None:
    """Serve the API and all services in one process, over SQLite.

    The first start writes an admin token to DATA_DIR/admin-token, unless
    NOTIFY_API__ADMIN_TOKEN is set. Deliveries to loopback and private networks need
    NOTIFY_SENDER__ALLOW_CIDRS, for example 127.0.0.0/8,10.0.0.0/8.
    """
    flags: dict[str, Any] = {"api.host": host, "api.port": port}
    if data_dir is not None:
        flags["storage.url"] = sqlite_url(data_dir / DATA_FILE)
    config = load(file, flags={name: value for name, value in flags.items() if value is not None})
    logging.basicConfig(
        level=config.runtime.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    sys.exit(uvloop.run(_serve(config)))


async def _serve(config: Config) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        async with Notify(config=config) as notify:
            core = "compiled" if notify_core.ACCELERATED else "pure (no compiler was there)"
            click.echo(f"Notify is up at {notify.url}, data in {notify.data_dir}, core {core}")
            if not config.api.admin_token:
                click.echo(f"The admin token is in {notify.data_dir / FILE}")
            tune_gc()
            failure = asyncio.create_task(notify.failure())
            stopped = asyncio.create_task(stop.wait())
            done, _ = await asyncio.wait((failure, stopped), return_when=asyncio.FIRST_COMPLETED)
            if failure in done:
                await failure
            failure.cancel()
            click.echo("Stopping: finishing what is under way ...")
    except OSError as error:
        raise NotifyError(
            f"cannot serve at {config.api.host}:{config.api.port}: {error.strerror}"
        ) from None
    return 0
