"""The Maker: splits messages into deliveries and pushes them to the subscriptions' queues."""

from notify.maker.maker import Maker

__all__ = ["Maker"]
