"""The admin token of an embedded Notify: made at the first start, kept beside the database."""

import base64
import os
from pathlib import Path
from typing import Final

from notify.domain.errors import ConfigError
from notify.domain.ports import Random

FILE: Final = "admin-token"


def read_or_make(directory: Path, random: Random) -> str:
    """The token in directory/admin-token, which only its owner may read.

    Raises ConfigError where the file is empty or cannot be read or written.
    """
    path = directory / FILE
    try:
        if not path.exists():
            token = "na_" + base64.urlsafe_b64encode(random.token_bytes(24)).decode()
            # Complete before it has its name: a crash here leaves no half-written token.
            part = path.with_suffix(".new")
            part.unlink(missing_ok=True)
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(token + "\n")
            part.rename(path)
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"the admin token in {path} cannot be used: {error}"]) from None
    if not token:
        raise ConfigError([f"{path} is empty: delete it to have a new admin token made"])
    return token
