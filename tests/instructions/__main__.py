"""Counts the compiled core's instructions, shows them, or makes them the bounds of the test.

python -m tests.instructions          what an item of each job costs now
python -m tests.instructions --write  makes that the bounds
"""

import sys

from tests.instructions import bounds
from tests.instructions.callgrind import count
from tests.instructions.jobs import COMPILED, PURE


def main(arguments: list[str]) -> None:
    """Count, show, and write if asked to."""
    if arguments not in ([], ["--write"]):
        sys.exit(__doc__)
    found = bounds.bounds_of(count(COMPILED), count(PURE))
    print(f"{'an item':42}{'instructions':>14}{'calls':>8}{'pure twin':>12}")
    for name, now in found.items():
        print(f"{name:42}{now.own:14.1f}{now.calls:8.2f}{now.ratio:11.1f}x")
    if arguments:
        bounds.write(found)


if __name__ == "__main__":
    main(sys.argv[1:])
