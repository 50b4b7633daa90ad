"""A service's command: `python -m notify.maker` and `notify maker` are the same."""

import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import click

from notify.config import load
from notify.domain.errors import NotifyError
from notify.runtime.host import Host, run_process

Life = Callable[[Host], Awaitable[None]]

config_option = click.option(
    "--config", "file", type=click.Path(path_type=Path), help="A TOML file to read."
)


def service_command(name: str, text: str, life: Life) -> click.Command:
    """The command of a service without a port of its own."""

    @click.command(name, help=text)
    @config_option
    @click.option("--health-host", help="Address for probes.  [NOTIFY_RUNTIME__HEALTH_HOST]")
    @click.option(
        "--health-port", type=int, help="Port for probes, 0: any.  [NOTIFY_RUNTIME__HEALTH_PORT]"
    )
    @click.option("--supervised", is_flag=True, hidden=True)
    def command(
        file: Path | None, health_host: str | None, health_port: int | None, supervised: bool
    ) -> None:
        flags = {"runtime.health_host": health_host, "runtime.health_port": health_port}
        run_process(Host(name, load(file, flags=given(flags))), life, supervised)

    return command


def server_command(name: str, text: str, life: Life) -> click.Command:
    """The command of the service that serves the API."""

    @click.command(name, help=text)
    @config_option
    @click.option("--host", help="Address to listen on.  [NOTIFY_API__HOST; default: 127.0.0.1]")
    @click.option("--port", type=int, help="Port, 0: any.  [NOTIFY_API__PORT; default: 8470]")
    @click.option(
        "--fd", "fds", type=int, multiple=True, help="A listening socket to serve on instead."
    )
    @click.option("--supervised", is_flag=True, hidden=True)
    def command(
        file: Path | None,
        host: str | None,
        port: int | None,
        fds: tuple[int, ...],
        supervised: bool,
    ) -> None:
        config = load(file, flags=given({"api.host": host, "api.port": port}))
        try:
            sockets = [socket.socket(fileno=fd) for fd in fds]
        except OSError as error:
            raise click.BadParameter(f"not a socket: {error.strerror}", param_hint="--fd") from None
        run_process(Host(name, config, sockets), life, supervised)

    return command


def given(flags: dict[str, Any]) -> dict[str, Any]:
    """The flags that somebody gave."""
    return {name: value for name, value in flags.items() if value is not None}


def run_command(command: click.Command, args: list[str] | None = None, prog: str = "") -> Any:
    """Run a command; errors of Notify are one sentence on stderr and exit code 1."""
    try:
        return command.main(args, prog_name=prog or None)
    except NotifyError as error:
        click.echo(f"notify: {error}", err=True)
        sys.exit(1)
