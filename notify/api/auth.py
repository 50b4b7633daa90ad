"""Who is calling: the operator by the admin token, a producer by its API key."""

import asyncio
import base64
import hashlib
import hmac
import logging
from typing import Final

from notify.domain.errors import StorageError, StorageUnavailable, Unauthorized
from notify.domain.model import Directory, Producer
from notify.domain.ports import Clock, Random
from notify.runtime.directory import DirectoryCache

KEY_PREFIX: Final = "nk_"
KEY_BYTES: Final = 32
# A key this process has not heard of may be seconds old and made by another process: look, but
# not more often than this, or a stranger with wrong keys would load the database.
LOOK_AGAIN_MS: Final = 200
# Authorization headers remembered with the producers they belong to.
KNOWN_MAX: Final = 10_000
_BEARER: Final = b"bearer "
_log = logging.getLogger(__name__)


def new_api_key(random: Random) -> str:
    """A fresh API key; only its hash is stored."""
    text = base64.urlsafe_b64encode(random.token_bytes(KEY_BYTES)).rstrip(b"=")
    return KEY_PREFIX + text.decode("ascii")


def hash_key(key: bytes) -> str:
    """The SHA-256 of an API key, hex: keys are random, so no slow hash is needed."""
    return hashlib.sha256(key).hexdigest()


def bearer(authorization: bytes, wanted: str) -> bytes:
    """The credentials of an Authorization header. Raises Unauthorized unless they are Bearer.

    wanted: what is to be sent, for the error.
    """
    if authorization[:7].lower() != _BEARER:
        raise Unauthorized(f"send the header Authorization: Bearer <{wanted}>")
    return authorization[7:].strip()


class Keys:
    """Checks credentials."""

    def __init__(self, directory: DirectoryCache, clock: Clock, admin_token: str) -> None:
        self._directory = directory
        self._clock = clock
        self._admin_token = admin_token.encode()
        self._known: dict[bytes, Producer] = {}
        self._known_of: Directory | None = None
        self._looked_ms = 0
        self._looking: asyncio.Task[None] | None = None
        self._look_failed = False

    def is_admin(self, authorization: bytes, wanted: str = "admin token or API key") -> bool:
        """Whether this is the admin token. Raises Unauthorized where there is no bearer token."""
        given = bearer(authorization, wanted)
        return bool(self._admin_token) and hmac.compare_digest(given, self._admin_token)

    def check_admin(self, authorization: bytes) -> None:
        """Raises Unauthorized unless this is the admin token."""
        if not self.is_admin(authorization, "admin token"):
            raise Unauthorized("this call needs the admin token (option api.admin_token)")

    def known(self, authorization: bytes) -> Producer | None:
        """The producer whose API key this is, None where only `producer` can tell.

        The same header comes with every request of a producer: while nothing is configured anew,
        it is not hashed again.
        """
        if self._known_of is not self._directory.current:
            self._known_of = self._directory.current
            self._known.clear()
        found = self._known.get(authorization)
        if found is None and authorization[:7].lower() == _BEARER:
            found = self._directory.producer_of_key(hash_key(authorization[7:].strip()))
            if found is not None and len(self._known) < KNOWN_MAX:
                self._known[authorization] = found
        return found

    async def producer(self, authorization: bytes) -> Producer:
        """The producer whose API key this is.

        Raises Unauthorized for any other; StorageUnavailable where the database cannot be asked
        about a key that is not known here: a producer may take a 401 for final.
        """
        key = bearer(authorization, "API key of a producer")
        key_hash = hash_key(key)
        producer = self._directory.producer_of_key(key_hash)
        if producer is None and key.startswith(KEY_PREFIX.encode()):
            await self._look()
            producer = self._directory.producer_of_key(key_hash)
        if producer is None:
            if self.is_admin(authorization):
                raise Unauthorized("this is the admin token; send the API key of a producer")
            raise Unauthorized("this is not the API key of any producer")
        return producer

    async def _look(self) -> None:
        """Look for new keys, all who ask together, unless it was done a moment ago."""
        looking, now_ms = self._looking, self._clock.now_ms()
        if looking is None and not 0 <= now_ms - self._looked_ms < LOOK_AGAIN_MS:
            self._looked_ms = now_ms
            looking = self._looking = asyncio.create_task(self._refresh())
        if looking is not None:
            await asyncio.wait({looking})  # one that gives up leaves the look to the others
            looking.result()
        if self._look_failed:
            raise StorageUnavailable("the database does not answer: the API key is not checked")

    async def _refresh(self) -> None:
        failed = True
        try:
            await self._directory.refresh()
            failed = False
        except StorageError as error:
            if not self._look_failed:  # once, not for every look while the database is away
                _log.warning("unknown API keys cannot be looked up: %s", error)
        finally:
            self._look_failed = failed
            self._looking = None
