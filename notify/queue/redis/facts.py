"""What Redis says of itself (INFO), and the setting of it that Notify does not work with."""

from typing import Final, NamedTuple

SAFE_POLICY: Final = "noeviction"
# Redis Functions came with it.
VERSION_LEAST: Final = (7, 0)


class Facts(NamedTuple):
    """The lines of INFO that matter; what a server does not tell is empty or 0.

    run: the id of the server's present run. policy: its maxmemory-policy. memory_max: 0 for no
    bound. now_ms: its clock.
    """

    run: bytes
    version: str
    role: str
    policy: str
    memory_bytes: int
    memory_max: int
    is_cluster: bool
    is_loading: bool
    now_ms: int

    @property
    def evicts(self) -> bool:
        """Whether it throws keys away, today or when a bound is set."""
        return self.policy not in ("", SAFE_POLICY)


def facts(info: bytes) -> Facts:
    """The facts in the reply to INFO."""
    lines = dict(line.split(b":", 1) for line in info.splitlines() if b":" in line)

    def text(name: bytes) -> str:
        return lines.get(name, b"").decode(errors="replace").strip()

    def number(name: bytes) -> int:
        return int(text(name)) if text(name).isdecimal() else 0

    return Facts(
        run=lines.get(b"run_id", b""),
        version=text(b"redis_version"),
        role=text(b"role"),
        policy=text(b"maxmemory_policy"),
        memory_bytes=number(b"used_memory"),
        memory_max=number(b"maxmemory"),
        is_cluster=number(b"cluster_enabled") == 1,
        is_loading=number(b"loading") == 1,
        now_ms=number(b"server_time_usec") // 1000,
    )


def eviction(found: Facts) -> str:
    """Why a server that evicts is not worked with, or is not to be: one sentence."""
    return (
        f"Redis evicts (maxmemory-policy {found.policy}) and would throw away what is queued:"
        f" run CONFIG SET maxmemory-policy {SAFE_POLICY} there, and write it into its configuration"
    )
