"""The queue of one process: for the embedded mode, tests and simulations."""

from notify.queue.memory.queue import MemoryQueue

__all__ = ["MemoryQueue"]
