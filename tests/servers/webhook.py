"""A private `webhook` (adnanh/webhook): hooks with rules that run a command."""

import json
from collections.abc import Sequence
from typing import Any

from tests.servers.program import Program


class WebhookServer(Program):
    """Serves /hooks/<id> for each of `hooks`, in the program's own terms."""

    name = "webhook"
    package = "webhook"

    def __init__(self, hooks: list[dict[str, Any]]) -> None:
        super().__init__()
        (self.directory / "hooks.json").write_text(json.dumps(hooks))

    def arguments(self) -> Sequence[str]:
        return ["-hooks", "hooks.json", "-ip", "127.0.0.1", "-port", str(self.port), "-verbose"]
