"""The Sender: delivers to the consumers' endpoints and reports what came of it."""

from notify.sender.sender import Sender

__all__ = ["Sender"]
