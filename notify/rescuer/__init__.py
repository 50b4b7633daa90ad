"""The Rescuer: puts back what the queue forgot, and feeds queues from the database."""

from notify.rescuer.rescuer import Rescuer

__all__ = ["Rescuer"]
