"""Routes of producers."""

import msgspec
from msgspec import UNSET

from notify.api.auth import hash_key, new_api_key
from notify.api.checks import check_name
from notify.api.context import Context
from notify.api.moments import shown
from notify.api.paging import page
from notify.api.routing import PAGING, Call, Route
from notify.api.shapes import (
    Listed,
    ProducerChange,
    ProducerCreated,
    ProducerNew,
    ProducerShown,
)
from notify.domain.errors import NotFound
from notify.domain.model import Producer


def show(producer: Producer) -> ProducerShown:
    """What callers see of a producer."""
    return ProducerShown(
        id=producer.id,
        name=producer.name,
        created_at=shown(producer.created_ms),
        updated_at=shown(producer.updated_ms),
    )


def existing(context: Context, producer_id: int) -> Producer:
    """The producer. Raises NotFound."""
    producer = context.directory.current.producers.get(producer_id)
    if producer is None or producer.deleted_ms:
        raise NotFound(f"there is no producer {producer_id}")
    return producer


async def create(context: Context, call: Call) -> ProducerCreated:
    """Make a producer and its API key."""
    new: ProducerNew = call.body
    api_key = new_api_key(context.random)
    producer = await context.storage.add_producer(
        check_name(new.name), hash_key(api_key.encode()), context.clock.now_ms()
    )
    await context.changed()
    return _with_key(producer, api_key)


async def list_all(context: Context, call: Call) -> Listed[ProducerShown]:
    """Show producers."""
    await context.directory.refresh()
    return page(call, context.directory.current.producers.values(), show)


async def get(context: Context, call: Call) -> ProducerShown:
    """Show one producer."""
    await context.directory.refresh()
    return show(existing(context, call.id()))


async def change(context: Context, call: Call) -> ProducerShown:
    """Rename a producer."""
    asked: ProducerChange = call.body
    async with context.changing:
        await context.directory.refresh()
        producer = existing(context, call.id())
        if asked.name is not UNSET:
            producer = await _store(context, producer, name=check_name(asked.name))
        return show(producer)


async def rotate_key(context: Context, call: Call) -> ProducerCreated:
    """Replace the API key; the old one stops working."""
    api_key = new_api_key(context.random)
    async with context.changing:
        await context.directory.refresh()
        producer = existing(context, call.id())
        producer = await _store(context, producer, key_hash=hash_key(api_key.encode()))
    return _with_key(producer, api_key)


async def delete(context: Context, call: Call) -> None:
    """Delete a producer that has no subscriptions."""
    async with context.changing:
        await context.directory.refresh()
        producer = existing(context, call.id())
        context.check_unsubscribed("producer", "producer_id", producer.id)
        await _store(context, producer, deleted_ms=context.clock.now_ms())


async def _store(context: Context, producer: Producer, **changes: object) -> Producer:
    changed = msgspec.structs.replace(producer, updated_ms=context.clock.now_ms(), **changes)
    await context.storage.update_producer(changed)
    await context.changed()
    return changed


def _with_key(producer: Producer, api_key: str) -> ProducerCreated:
    return ProducerCreated(**msgspec.structs.asdict(show(producer)), api_key=api_key)


ROUTES = (
    Route("POST", "/v1/producers", "createProducer", "Create a producer; its API key is shown"
          " only in this answer", "producers", create, ProducerCreated, 201, body=ProducerNew,
          errors=(409,)),
    Route("GET", "/v1/producers", "listProducers", "List producers", "producers", list_all,
          Listed[ProducerShown], query=PAGING),
    Route("GET", "/v1/producers/{id}", "getProducer", "Show a producer", "producers", get,
          ProducerShown, errors=(404,)),
    Route("PATCH", "/v1/producers/{id}", "changeProducer", "Rename a producer", "producers",
          change, ProducerShown, body=ProducerChange, errors=(404, 409)),
    Route("DELETE", "/v1/producers/{id}", "deleteProducer", "Delete a producer without"
          " subscriptions", "producers", delete, status=204, errors=(404, 409)),
    Route("POST", "/v1/producers/{id}/rotate-key", "rotateProducerKey", "Replace the API key; the"
          " old one stops working at once", "producers", rotate_key, ProducerCreated,
          errors=(404,)),
)  # fmt: skip
