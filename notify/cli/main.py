"""The root of the command line."""

from pathlib import Path
from typing import Any

import click

import notify
import notify_core
from notify.api import service as api
from notify.cli.demo.command import demo
from notify.cli.doctor import doctor
from notify.cli.fsck import fsck
from notify.cli.listen import listen
from notify.cli.replay import replay
from notify.cli.up import up
from notify.config import load
from notify.config.describe import described
from notify.maker import service as maker
from notify.marker import service as marker
from notify.rescuer import service as rescuer
from notify.runtime.clock import SystemClock
from notify.runtime.command import config_option, run_command
from notify.sender import service as sender
from notify.storage import migrate_storage


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(
    notify.__version__,
    message=f"notify %(version)s (core: {'compiled' if notify_core.ACCELERATED else 'pure'})",
)
def root() -> None:
    """Durable message delivery to HTTP endpoints.

    Every option of the configuration can be set in a file (--config), in the environment
    (NOTIFY_SECTION__KEY), or where a command has a flag for it by the flag.
    """


@root.command("config")
@config_option
def show_config(file: Path | None) -> None:
    """Show every option, its environment variable and its value as configured now."""
    click.echo(described(load(file)))


@root.command()
@config_option
def migrate(file: Path | None) -> None:
    """Create or upgrade the tables that NOTIFY_STORAGE__URL names."""
    applied = migrate_storage(load(file).storage, SystemClock().now_ms)
    for name in applied:
        click.echo(f"applied {name}")
    click.echo("The schema is up to date.")


root.add_command(up)
root.add_command(demo)
root.add_command(doctor)
root.add_command(listen)
root.add_command(fsck)
root.add_command(replay)
for service in (api, maker, sender, marker, rescuer):
    root.add_command(service.command)


def main(args: list[str] | None = None) -> Any:
    """Run a command; errors of Notify are one sentence on stderr and exit code 1."""
    return run_command(root, args, "notify")
