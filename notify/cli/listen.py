"""`notify listen`: a consumer for trying things out."""

from typing import Any

import click
import uvicorn

from notify.cli import receiver
from notify_core import sign
from notify_core.errors import SecretError

SHOWN_CHARS_MAX = 200


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=9000, show_default=True, help="Port to listen on.")
@click.option("--secret", help="The consumer's secret; wrong signatures are answered 401.")
@click.option("--status", default=200, show_default=True, help="What to answer otherwise.")
def listen(host: str, port: int, secret: str | None, status: int) -> None:
    """Receive deliveries and print them, one line each, until Ctrl-C. Not for production."""
    try:
        signer = sign.Signer([sign.decode_secret(secret)]) if secret else None
    except SecretError as error:
        raise click.BadParameter(str(error), param_hint="--secret") from None

    async def app(scope: dict[str, Any], receive: receiver.Receive, send: receiver.Send) -> None:
        if scope["type"] != "http":
            return
        delivery = await receiver.read(scope, receive)
        good = signer is None or delivery.is_signed(signer)
        code = status if good else 401
        body = delivery.body.decode(errors="replace")
        click.echo(
            f"{code} {delivery.headers.get('notify-event-type', '-')} "
            f"{delivery.headers.get('webhook-id', '-')} "
            f"try {delivery.headers.get('notify-attempt', '-')}"
            f"{'' if good else ' WRONG SIGNATURE'} {body[:SHOWN_CHARS_MAX]}"
        )
        await receiver.answer(send, code)

    click.echo(f"Listening on http://{host}:{port}")
    uvicorn.run(app, host=host, port=port, access_log=False, log_level="warning", lifespan="off")
