"""Who shares the keys of a group with whom."""

from collections.abc import Collection

from notify.domain.ports import Share


class _Group:
    """The members by when their time runs out, and what each holds."""

    def __init__(self) -> None:
        self.expires_ms: dict[str, int] = {}
        self.held: dict[str, set[int]] = {}
        self.holders: dict[int, str] = {}

    def part(self, member: str) -> None:
        """Free what a member holds; it is none any more."""
        self.expires_ms.pop(member, None)
        for key in self.held.pop(member, ()):
            del self.holders[key]


class Shares:
    """The groups. Whose time ran out is dropped at the next `share`, of whatever group."""

    def __init__(self) -> None:
        self._groups: dict[str, _Group] = {}

    def share(
        self,
        name: str,
        member: str,
        now_ms: int,
        ttl_ms: int,
        wanted: Collection[int],
        released: Collection[int],
    ) -> Share:
        """Prolong a membership, give back `released`, take what is free of `wanted`."""
        self._expire(now_ms)
        group = self._groups.setdefault(name, _Group())
        begun = member not in group.expires_ms
        group.expires_ms[member] = now_ms + ttl_ms
        held = group.held.setdefault(member, set())
        for key in held.intersection(released):
            held.remove(key)
            del group.holders[key]
        for key in wanted:
            if group.holders.setdefault(key, member) == member:
                held.add(key)
        return Share(tuple(sorted(group.expires_ms)), frozenset(held), begun)

    def leave(self, name: str, member: str) -> None:
        """Free what a member holds; it is none any more."""
        group = self._groups.get(name)
        if group is not None:
            group.part(member)
            if not group.expires_ms:
                del self._groups[name]

    def _expire(self, now_ms: int) -> None:
        over = [
            (name, member)
            for name, group in self._groups.items()
            for member, expires_ms in group.expires_ms.items()
            if expires_ms <= now_ms
        ]
        for name, member in over:
            self.leave(name, member)
