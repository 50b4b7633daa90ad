"""`notify replay`: have dead letters delivered after all."""

from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop

from notify.cli.operator_api import OperatorApi
from notify.config import Config, load
from notify.domain.model import Reason
from notify.runtime.command import config_option

_REASONS = [reason.name.lower() for reason in Reason if reason > Reason.UNMATCHED]


@click.command()
@click.argument("subscription", type=click.IntRange(min=1))
@click.option("--message", type=click.IntRange(min=1), help="Only the delivery of this message.")
@click.option("--since", help="Of messages accepted at or after, like 2024-01-31T08:00:00Z.")
@click.option("--until", help="Of messages accepted before this moment.")
@click.option(
    "--reason",
    "reasons",
    type=click.Choice(_REASONS),
    multiple=True,
    help="Only what was dropped for this reason; may be given again.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else.")
@config_option
def replay(
    subscription: int,
    message: int | None,
    since: str | None,
    until: str | None,
    reasons: tuple[str, ...],
    as_json: bool,
    file: Path | None,
) -> None:
    """Deliver dropped deliveries of SUBSCRIPTION after all, with a new budget of attempts.

    Calls the API at NOTIFY_CLI__API_URL, by default the one of this host, with the admin token.
    Cut off, it may be run again: what waits already is left alone.
    """
    chosen = {"since": since, "until": until, "reasons": list(reasons) or None}
    asked = {name: value for name, value in chosen.items() if value is not None}
    if message is not None and asked:
        raise click.UsageError("--message names one delivery: give no other choice with it")
    replayed = uvloop.run(_replayed(load(file), subscription, message, asked, quiet=as_json))
    if as_json:
        click.echo(msgspec.json.encode({"subscription": subscription, "replayed": replayed}))
    else:
        click.echo(f"{replayed} of subscription {subscription} replayed")


async def _replayed(
    config: Config, subscription: int, message: int | None, asked: dict[str, Any], quiet: bool
) -> int:
    """How many were replayed. Raises NotifyError."""
    api = OperatorApi(config)
    try:
        if message is not None:
            await api.call("POST", f"/v1/deliveries/{message}/{subscription}/replay")
            return 1
        replayed: int = 0
        while True:
            answer = await api.call("POST", f"/v1/subscriptions/{subscription}/replay", asked)
            replayed += answer["replayed"]
            if not answer["more"]:
                break
            asked = asked | {"after": answer["next"]}
            if not quiet:
                click.echo(f"{replayed} replayed so far", err=True)
        return replayed
    finally:
        await api.close()
