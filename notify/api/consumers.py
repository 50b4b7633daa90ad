"""Routes of consumers."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET

from notify.api.checks import (
    SECRETS_MAX,
    check_name,
    check_secret,
    check_static_headers,
    check_url,
    kind_of,
    masked_headers,
    masked_secret,
    public_key,
)
from notify.api.context import Context
from notify.api.dialects import (
    auth_of,
    check_dialect,
    identity_of,
    masked_auth,
    masked_identity,
    masked_x5,
    x5_of,
)
from notify.api.moments import shown
from notify.api.paging import page
from notify.api.policies import check_policy
from notify.api.routing import PAGING, Call, Route
from notify.api.shapes import (
    ConsumerChange,
    ConsumerNew,
    ConsumerShown,
    Listed,
    SecretRotation,
)
from notify.domain.errors import Conflict, NotFound
from notify.domain.model import Consumer

# How the fields of a change become those of a consumer; the others are what they are.
_CHECKED: Final[Mapping[str, Callable[[Any], object]]] = {
    "name": check_name,
    "url": check_url,
    "headers": check_static_headers,
    "x5": x5_of,
    "auth": auth_of,
    "identity": identity_of,
}


def show(consumer: Consumer) -> ConsumerShown:
    """What callers see of a consumer: no secret in full."""
    secrets = consumer.secrets
    return ConsumerShown(
        id=consumer.id,
        name=consumer.name,
        url=consumer.url,
        secret=masked_secret(secrets[0]) if secrets else "",
        public_key=public_key(secrets[0]) if secrets else None,
        previous_secret=masked_secret(secrets[1]) if len(secrets) > 1 else None,
        previous_public_key=public_key(secrets[1]) if len(secrets) > 1 else None,
        headers=masked_headers(consumer.headers),
        timeout_ms=consumer.timeout_ms,
        protocol=consumer.protocol,
        signed=consumer.signed,
        x5=masked_x5(consumer.x5),
        auth=masked_auth(consumer.auth),
        identity=masked_identity(consumer.identity),
        handshake=consumer.handshake,
        created_at=shown(consumer.created_ms),
        updated_at=shown(consumer.updated_ms),
    )


def existing(context: Context, consumer_id: int) -> Consumer:
    """The consumer. Raises NotFound."""
    consumer = context.directory.current.consumers.get(consumer_id)
    if consumer is None or consumer.deleted_ms:
        raise NotFound(f"there is no consumer {consumer_id}")
    return consumer


async def create(context: Context, call: Call) -> ConsumerShown:
    """Make a consumer."""
    new: ConsumerNew = call.body
    now_ms = context.clock.now_ms()
    asked = Consumer(
        id=0,
        name=check_name(new.name),
        url=check_url(new.url),
        secrets=(check_secret(new.secret, new.secret_kind, context.random),),
        headers=check_static_headers(new.headers),
        timeout_ms=context.config.sender.timeout_ms if new.timeout_ms is None else new.timeout_ms,
        protocol=new.protocol,
        signed=new.signed,
        x5=x5_of(new.x5),
        auth=auth_of(new.auth),
        identity=identity_of(new.identity),
        handshake=new.handshake,
        created_ms=now_ms,
        updated_ms=now_ms,
    )
    consumer = await context.storage.add_consumer(check_dialect(asked))
    await context.changed()
    return _with_secret(consumer)


async def list_all(context: Context, call: Call) -> Listed[ConsumerShown]:
    """Show consumers."""
    await context.directory.refresh()
    return page(call, context.directory.current.consumers.values(), show)


async def get(context: Context, call: Call) -> ConsumerShown:
    """Show one consumer."""
    await context.directory.refresh()
    return show(existing(context, call.id()))


async def change(context: Context, call: Call) -> ConsumerShown:
    """Change what is set of a consumer, but its secrets."""
    asked: ConsumerChange = call.body
    changes = {
        name: _CHECKED[name](value) if name in _CHECKED else value
        for name in asked.__struct_fields__
        if (value := getattr(asked, name)) is not UNSET
    }
    if changes.get("timeout_ms", 0) is None:
        changes["timeout_ms"] = context.config.sender.timeout_ms
    async with context.changing:
        await context.directory.refresh()
        consumer = existing(context, call.id())
        if changes:
            changed = msgspec.structs.replace(consumer, **changes)
            check_dialect(changed)
            for subscription in context.directory.live_subscriptions.values():
                if subscription.consumer_id == consumer.id:
                    check_policy(subscription, changed)
            consumer = await _store(context, consumer, **changes)
        return show(consumer)


async def rotate_secret(context: Context, call: Call) -> ConsumerShown:
    """Make a new secret the current one; the one before keeps signing too."""
    asked = call.body or SecretRotation()
    async with context.changing:
        await context.directory.refresh()
        consumer = existing(context, call.id())
        kind = asked.kind
        if asked.secret is None and kind is None and consumer.secrets:
            kind = kind_of(consumer.secrets[0])
        secret = check_secret(asked.secret, kind, context.random)
        if secret in consumer.secrets:
            raise Conflict("the consumer has this secret already")
        secrets = (secret, *consumer.secrets)[:SECRETS_MAX]
        return _with_secret(await _store(context, consumer, secrets=secrets))


async def drop_previous_secret(context: Context, call: Call) -> ConsumerShown:
    """Sign with the current secret only."""
    async with context.changing:
        await context.directory.refresh()
        consumer = existing(context, call.id())
        if len(consumer.secrets) < SECRETS_MAX:
            raise NotFound("the consumer has no previous secret")
        return show(await _store(context, consumer, secrets=consumer.secrets[:1]))


async def delete(context: Context, call: Call) -> None:
    """Delete a consumer that has no subscriptions."""
    async with context.changing:
        await context.directory.refresh()
        consumer = existing(context, call.id())
        context.check_unsubscribed("consumer", "consumer_id", consumer.id)
        await _store(context, consumer, deleted_ms=context.clock.now_ms())


async def _store(context: Context, consumer: Consumer, **changes: object) -> Consumer:
    changed = msgspec.structs.replace(consumer, updated_ms=context.clock.now_ms(), **changes)
    await context.storage.update_consumer(changed)
    await context.changed()
    return changed


def _with_secret(consumer: Consumer) -> ConsumerShown:
    return msgspec.structs.replace(show(consumer), secret=consumer.secrets[0])


_ONE = "/v1/consumers/{id}"
ROUTES = (
    Route("POST", "/v1/consumers", "createConsumer", "Create a consumer; its secret is shown only"
          " in this answer", "consumers", create, ConsumerShown, 201, body=ConsumerNew,
          errors=(409,)),
    Route("GET", "/v1/consumers", "listConsumers", "List consumers", "consumers", list_all,
          Listed[ConsumerShown], query=PAGING),
    Route("GET", _ONE, "getConsumer", "Show a consumer", "consumers", get, ConsumerShown,
          errors=(404,)),
    Route("PATCH", _ONE, "changeConsumer", "Change a consumer", "consumers", change,
          ConsumerShown, body=ConsumerChange, errors=(404, 409)),
    Route("DELETE", _ONE, "deleteConsumer", "Delete a consumer without subscriptions",
          "consumers", delete, status=204, errors=(404, 409)),
    Route("POST", _ONE + "/rotate-secret", "rotateConsumerSecret", "Make a new secret current;"
          " the one before keeps signing beside it", "consumers", rotate_secret, ConsumerShown,
          body=SecretRotation, body_optional=True, errors=(404, 409)),
    Route("DELETE", _ONE + "/previous-secret", "dropPreviousSecret", "Sign with the current"
          " secret only", "consumers", drop_previous_secret, ConsumerShown, errors=(404,)),
)  # fmt: skip
