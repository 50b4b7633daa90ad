"""Sharing the keys of a group: only what changes is sent, what is held is remembered here.

functions.lua keeps a version of what a member holds, which only the member's own calls change.
Whoever names the right one knows what it holds; a heartbeat that changes nothing then costs the
same for any number of keys. Whoever does not (an answer was lost) reads it, page by page.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

from notify.domain.ports import Share
from notify.queue.redis import keys
from notify.queue.redis.client import Link

# A function call blocks the server: with so many keys for about 0.6 ms.
CALL_KEYS_MAX: Final = 500
# How often one call may find that it knew the wrong thing. More only where a membership ends
# sooner than a call: then the answer is what was held last.
PLANS_MAX: Final = 4


class _Known(NamedTuple):
    life: int
    version: int
    held: frozenset[int]


_UNSURE, _GOES_ON, _BEGINS = 0, 1, 2
_NOTHING: Final = _Known(0, 0, frozenset())


class _Reply(NamedTuple):
    """What functions.lua answers to a call. state: one of the three below."""

    state: int
    life: int
    version: int
    refused: list[bytes]
    members: list[bytes]


class Shares:
    """What the members that share through this process hold, as far as that is certain."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], _Known] = {}

    async def share(
        self,
        link: Link,
        group: str,
        member: str,
        ttl_ms: int,
        wanted: Collection[int],
        released: Collection[int],
    ) -> Share:
        """Prolong a membership, give back `released`, take what is free of `wanted`."""
        # Taken out: whatever ends this call early leaves nothing that is taken for certain.
        known = self._known.pop((group, member), _NOTHING)
        unwanted = frozenset(released).difference(wanted)
        held = set(known.held)
        begun = False
        for _ in range(PLANS_MAX):
            back = list(unwanted & held)
            changes = [*back, *(key for key in wanted if key not in held)]
            for first in range(0, max(1, len(changes)), CALL_KEYS_MAX):
                some = changes[first : first + CALL_KEYS_MAX]
                gives = max(0, min(len(back) - first, len(some)))
                reply = await _call(link, group, member, ttl_ms, known, gives, some)
                if reply.state == _UNSURE:
                    held = await _read(link, group, reply.life)
                else:
                    if reply.state == _BEGINS:
                        held, begun = set(), True
                    held.difference_update(some[:gives])
                    held.update(some[gives:])
                    held.difference_update(map(int, reply.refused))
                known = known._replace(life=reply.life, version=reply.version)
                if reply.state != _GOES_ON:
                    break
            else:
                break
        # As it was, where nothing changed: it may be large.
        known = known if held == known.held else known._replace(held=frozenset(held))
        self._known[group, member] = known
        members = tuple(sorted(name.decode() for name in reply.members))
        return Share(members, known.held, begun)

    async def leave(self, link: Link, group: str, member: str) -> None:
        """End a membership."""
        self._known.pop((group, member), None)
        await link.ask([(b"FCALL", b"notify1_leave", 2, *keys.share(group), member.encode())])


async def _call(
    link: Link,
    group: str,
    member: str,
    ttl_ms: int,
    known: _Known,
    gives: int,
    changes: Collection[int],
) -> _Reply:
    """Prolong a membership and make changes, the first so many of them giving back."""
    head = (b"FCALL", b"notify1_share", 2, *keys.share(group), member.encode(), ttl_ms)
    (reply,) = await link.ask([(*head, known.life, known.version, gives, *changes)])
    return _Reply(*reply)


async def _read(link: Link, group: str, life: int) -> set[int]:
    """The keys that a life holds, page by page. Nobody else changes them meanwhile."""
    _, holders = keys.share(group)
    mine = b"%d" % life
    held: set[int] = set()
    cursor = b"0"
    while True:
        ((cursor, found),) = await link.ask([(b"HSCAN", holders, cursor, b"COUNT", CALL_KEYS_MAX)])
        fields = zip(found[::2], found[1::2], strict=True)
        held.update(int(key) for key, holder in fields if holder == mine and key.isdigit())
        if cursor == b"0":
            return held
