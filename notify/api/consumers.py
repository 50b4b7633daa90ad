"""Routes of consumers."""

import msgspec
from msgspec import UNSET

from notify.api.checks import (
    SECRETS_MAX,
    check_name,
    check_secret,
    check_static_headers,
    check_url,
    masked_headers,
    masked_secret,
)
from notify.api.context import Context
from notify.api.moments import shown
from notify.api.paging import page
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


def show(consumer: Consumer) -> ConsumerShown:
    """What callers see of a consumer: no secret in full."""
    secrets = consumer.secrets
    return ConsumerShown(
        id=consumer.id,
        name=consumer.name,
        url=consumer.url,
        secret=masked_secret(secrets[0]) if secrets else "",
        previous_secret=masked_secret(secrets[1]) if len(secrets) > 1 else None,
        headers=masked_headers(consumer.headers),
        timeout_ms=consumer.timeout_ms,
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
    TODO
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
    """Change name, URL, headers or time-out of a consumer."""
    asked: ConsumerChange = call.body
    changes: dict[str, object] = {}
    if asked.name is not UNSET:
        changes["name"] = check_name(asked.name)
    if asked.url is not UNSET:
        changes["url"] = check_url(asked.url)
    if asked.headers is not UNSET:
        changes["headers"] = check_static_headers(asked.headers)
    if asked.timeout_ms is not UNSET:
        default_ms = context.config.sender.timeout_ms
        changes["timeout_ms"] = default_ms if asked.timeout_ms is None else asked.timeout_ms
    async with context.changing:
        await context.directory.refresh()
        consumer = existing(context, call.id())
        if changes:
            consumer = await _store(context, consumer, **changes)
        return show(consumer)


async def rotate_secret(context: Context, call: Call) -> ConsumerShown:
    """Make a new secret the current one; the one before keeps signing too."""
    asked = call.body or SecretRotation()
    secret = check_secret(asked.secret, context.random)
    async with context.changing:
        await context.directory.refresh()
        consumer = existing(context, call.id())
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
