from collections.abc import Sequence
from typing import Final, final

from notify_core.ed25519 import PrivateKey

PREFIX: Final = "whsec_"

def decode_secret(text: str) -> bytes | PrivateKey: ...
def encode_secret(key: bytes) -> str: ...

@final
class Signer:
    def __init__(self, keys: Sequence[bytes | PrivateKey]) -> None: ...
    def signature(self, message_id: str, timestamp_s: int, body: bytes) -> str: ...

def request_head(
    prefix: bytes,
    signer: Signer | None,
    message_id: str,
    timestamp_s: int,
    event_type: str,
    content_type: str,
    sub_id: int,
    attempt: int,
    extra: bytes,
    body: bytes,
) -> bytes: ...
