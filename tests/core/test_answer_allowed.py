"""The headers that answer a validation request, in both twins."""

import importlib
import os

import pytest

pure = importlib.import_module("notify_core.pure.answer")
core = (
    pure if os.environ.get("NOTIFY_PURE") == "1" else importlib.import_module("notify_core.answer")
)


@pytest.mark.parametrize("answer", list(dict.fromkeys([core, pure])))
def test_they_are_kept_up_to_a_bound_and_forgotten_with_the_next_answer(answer):
    parser = answer.Parser(10_000, 10_000)
    for given, kept in (
        (b"", ("", "")),
        (b"webhook-allowed-origin: *\r\n", ("*", "")),
        (b"Webhook-Allowed-Rate:9\t\r\nx: y\r\nWEBHOOK-ALLOWED-ORIGIN: a.b\r\n", ("a.b", "9")),
        (b"webhook-allowed-origin: " + b"x" * 300 + b"\r\n", ("x" * 253, "")),
        (b"webhook-allowed-rate: " + b"1" * 300 + b"\r\n", ("", "1" * 64)),
        (b"webhook-allowed-origim: *\r\nwebhook-allowed-rat: 1\r\n", ("", "")),
    ):
        for pieces in (1, 1000):
            parser.begin(0)
            whole = b"HTTP/1.1 204 No Content\r\n" + given + b"\r\n"
            size = -(-len(whole) // pieces)
            for start in range(0, len(whole), size):
                state = parser.feed(whole[start : start + size])
            assert state == answer.COMPLETE
            assert parser.allowed == kept
