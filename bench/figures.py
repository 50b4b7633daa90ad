"""What a benchmark found, in the one form that the report and its charts are made of.

A stage is one step of a message's way (api, maker, sender, marker, flow) or something that is told
of the whole (spike, growth, core). Each of its cases is measured for Notify and, in the same run
on the same machine, for what it is compared with: a baseline and a ceiling.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Literal

Kind = Literal["notify", "baseline", "ceiling"]
KINDS: Final[tuple[Kind, ...]] = ("notify", "baseline", "ceiling")


@dataclass(frozen=True)
class Figure:
    """One measurement, the median of its rounds.

    stage, case: what was measured, as "sender", "HTTP, 50 endpoints". kind, name: for whom, as
    "baseline", "requests, one pop and one mark each". unit: what is counted, as "deliveries".
    per_s: of it by wall clock. cpu_s: CPU seconds of one core for 100 000 of it, by process.
    more: anything else by its name, as p50_ms, rss_mb.maker, gone_for_s.
    """

    stage: str
    case: str
    kind: Kind
    name: str
    unit: str
    per_s: float
    cpu_s: dict[str, float] = field(default_factory=dict)
    more: dict[str, float] = field(default_factory=dict)
    rounds: int = 1

    @property
    def all_cpu_s(self) -> float:
        """CPU seconds of all processes together."""
        return sum(self.cpu_s.values())


def write(path: Path, figures: Iterable[Figure]) -> None:
    """Save figures, one JSON object a line; what was there of the same stages is replaced."""
    fresh = list(figures)
    stages = {one.stage for one in fresh}
    kept = [one for one in read(path) if one.stage not in stages] if path.exists() else []
    lines = [json.dumps(asdict(one)) for one in (*kept, *fresh)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def read(path: Path) -> list[Figure]:
    """The figures of a file."""
    return [Figure(**json.loads(line)) for line in path.read_text().splitlines()]
