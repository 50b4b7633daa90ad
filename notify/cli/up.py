"""`notify up`: everything on this host, in one process over SQLite or as a set over MySQL."""

import asyncio
import signal
from dataclasses import replace
from pathlib import Path

import click
import uvloop

import notify_core
from notify.cli.supervise import Supervisor, check_supervised
from notify.config import Config, load
from notify.domain.errors import NotifyError
from notify.embedded import DATA_FILE, Notify
from notify.embedded.admin_token import FILE, read_or_make
from notify.runtime.clock import SystemRandom
from notify.runtime.command import config_option, given
from notify.runtime.logs import set_up_logs
from notify.runtime.process import tune_process
from notify.storage import is_shared, sqlite_url

TOKEN_DIR = Path("notify-data")


@click.command()
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where admin token and SQLite file are kept.  [default: as NOTIFY_STORAGE__URL says]",
)
@click.option("--database", help="mysql://user:password@host/database.  [NOTIFY_STORAGE__URL]")
@click.option("--queue", help="redis://host:6379/0.  [NOTIFY_QUEUE__URL; default: memory:]")
@click.option(
    "--workers",
    type=int,
    default=1,
    show_default=True,
    help="Processes of each service, over MySQL.",
)
@click.option("--host", help="Address to listen on.  [NOTIFY_API__HOST; default: 127.0.0.1]")
@click.option("--port", type=int, help="Port, 0: any free one.  [NOTIFY_API__PORT; default: 8470]")
@config_option
def up(
    data_dir: Path | None,
    database: str | None,
    queue: str | None,
    workers: int,
    host: str | None,
    port: int | None,
    file: Path | None,
) -> None:
    """Serve the API and all services.

    Over SQLite they are one process. Over MySQL (--database, with --queue) they are a process
    each, or --workers of each, of Api, Maker, Sender and Marker, and a Rescuer; what dies is
    started again; tables are created or upgraded first. More hosts may join: by `notify up`,
    or service by service (`notify sender`).

    The first start writes an admin token to DATA_DIR/admin-token, unless
    NOTIFY_API__ADMIN_TOKEN is set. Deliveries to loopback and private networks need
    NOTIFY_SENDER__ALLOW_CIDRS, for example 127.0.0.0/8,10.0.0.0/8.
    """
    if database is None and data_dir is not None:
        database = sqlite_url(data_dir / DATA_FILE)
    flags = {"api.host": host, "api.port": port, "storage.url": database, "queue.url": queue}
    config = load(file, flags=given(flags))
    if not is_shared(config.storage):
        set_up_logs(config.runtime.log_level)
        uvloop.run(_serve(config))
    else:
        check_supervised(config, workers)
        asyncio.run(Supervisor(_with_token(config, data_dir or TOKEN_DIR), file, workers).run())


def _with_token(config: Config, directory: Path) -> Config:
    if config.api.admin_token:
        return config
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    token = read_or_make(directory, SystemRandom())
    click.echo(f"The admin token is in {directory / FILE}")
    return replace(config, api=replace(config.api, admin_token=token))


async def _serve(config: Config) -> None:
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
            tune_process()
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
