"""The script that sends any NDJSON file through Notify, on a file of oddities."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.send_ndjson import fine
from tests.support.process import environment

SCRIPT = Path(__file__).parents[2] / "bench" / "send_ndjson.py"

ODDITIES = [
    "{}",
    "[]",
    '""',
    "null",
    "false",
    "-0",
    "0.10",
    "1E400",
    "-1.5e-7",
    "123456789012345678901234567890",
    "3.141592653589793238462643383279",
    '{ "a" :  1 ,\t"b": [ 1,2 , 3 ] }',
    '{"a":1,"a":2,"":3}',
    '{"z":1,"a":2}',
    '{"escaped":"\\u00e9\\/\\n\\\\\\"\\ud83d\\ude00","slash":"/"}',
    '{"raw":"é 漢字 😀 \u2028 \u00a0 \x7f","נ":"\u202e"}',
    '{"zero":"\\u0000"}',
    '{"markup":"<script>&amp;</script>"}',
    "[" * 60 + "]" * 60,
    '{"a":' * 60 + "{}" + "}" * 60,
    '{"long":"' + "x" * 40_000 + '"}',
    "[" + ",".join(map(str, range(10_000))) + "]",
]


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )


def test_odd_payloads_arrive_byte_for_byte(tmp_path):
    file = tmp_path / "odd.ndjson"
    lines = [f'{{"type":"odd.{n}","payload":{text}}}' for n, text in enumerate(ODDITIES)]
    lines[3] = '  { "payload" : null , "type" : "odd.3" }  '
    file.write_bytes("\r\n".join([*lines[:5], "", *lines[5:]]).encode())
    done = run_script(str(file), "--json", "--settle-s", "0.3")
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert result["ok"]
    size = sum(len(text.encode()) for text in ODDITIES)
    for row, requests in zip(result["ways"], (len(ODDITIES), 1), strict=True):
        assert row["requests"] == requests
        assert row["bytes"] == size
        assert row["sent"] == row["equal"] == row["verified"] == len(ODDITIES)


@pytest.mark.parametrize(
    "changed",
    [{"arrived": 2}, {"equal": 2}, {"verified": 2}, {"duplicates": 1}, {"lost": 1}, {"unasked": 1}],
)
def test_any_difference_counts(changed):
    row = {"sent": 3, "arrived": 3, "equal": 3, "verified": 3}
    row |= {"duplicates": 0, "lost": 0, "unasked": 0}
    assert fine(row)
    assert not fine(row | changed)


def test_a_bad_line_is_named(tmp_path):
    file = tmp_path / "bad.ndjson"
    file.write_text('{"type":"a","payload":1}\n{"type":"a"}\n')
    done = run_script(str(file))
    assert done.returncode == 1
    assert "line 2" in done.stderr
    assert "Traceback" not in done.stderr
