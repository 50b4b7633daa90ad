"""The compiled floor: buffers in, buffers out, no I/O, nothing of `notify`.

Every module `X` exists twice, name for name: `X.pyx` (Cython) and `pure/X.py`, which is its
oracle in tests and its stand-in where no compiler was. The choice is made here once, for all
modules together: a half-compiled core would be two behaviours to reason about.

NOTIFY_PURE=1 chooses the pure twins even where the extensions are built.
"""

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import notify_core.answer as answer
    import notify_core.chunk as chunk
    import notify_core.fanout as fanout
    import notify_core.ids as ids
    import notify_core.mark as mark
    import notify_core.push as push
    import notify_core.receive as receive
    import notify_core.request as request
    import notify_core.sign as sign
    import notify_core.sqltext as sqltext

    ACCELERATED: Final[bool] = True
elif os.environ.get("NOTIFY_PURE") == "1":
    from notify_core.pure import (
        answer,
        chunk,
        fanout,
        ids,
        mark,
        push,
        receive,
        request,
        sign,
        sqltext,
    )

    ACCELERATED = False
else:
    try:
        from notify_core import (
            answer,
            chunk,
            fanout,
            ids,
            mark,
            push,
            receive,
            request,
            sign,
            sqltext,
        )

        ACCELERATED = True
    except ImportError:
        from notify_core.pure import (
            answer,
            chunk,
            fanout,
            ids,
            mark,
            push,
            receive,
            request,
            sign,
            sqltext,
        )

        ACCELERATED = False

__all__ = [
    "ACCELERATED",
    "answer",
    "chunk",
    "fanout",
    "ids",
    "mark",
    "push",
    "receive",
    "request",
    "sign",
    "sqltext",
]
