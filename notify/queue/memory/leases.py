"""Named leases."""

from heapq import heappop, heappush


class Leases:
    """Who holds which name until when. What expired is dropped at the next `take`."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[str, int]] = {}  # owner, expires_ms
        self._expiries: list[tuple[int, str]] = []  # heap, also of leases prolonged since

    def take(self, name: str, owner: str, now_ms: int, ttl_ms: int) -> bool:
        """Take or prolong a lease; False while somebody else holds it."""
        self._expire(now_ms)
        if self._held.get(name, (owner, 0))[0] != owner:
            return False
        expires_ms = now_ms + ttl_ms
        self._held[name] = (owner, expires_ms)
        heappush(self._expiries, (expires_ms, name))
        return True

    def release(self, name: str, owner: str) -> None:
        """Give a lease back, where owner holds it."""
        if self._held.get(name, ("", 0))[0] == owner:
            del self._held[name]

    def _expire(self, now_ms: int) -> None:
        while self._expiries and self._expiries[0][0] <= now_ms:
            _, name = heappop(self._expiries)
            if self._held.get(name, ("", now_ms + 1))[1] <= now_ms:
                del self._held[name]
