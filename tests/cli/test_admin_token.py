"""The admin token: made once, kept, and nobody else's to read."""

import base64
import os
import stat
from pathlib import Path

import pytest

from notify.domain.errors import ConfigError
from notify.embedded import admin_token
from notify.embedded.admin_token import FILE, read_or_make
from notify.runtime.clock import SystemRandom


def test_it_is_made_once_and_used_again(tmp_path: Path) -> None:
    made = read_or_make(tmp_path, SystemRandom())
    assert made.startswith("na_")
    assert len(base64.urlsafe_b64decode(made[3:])) == 24
    assert read_or_make(tmp_path, SystemRandom()) == made
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_two_data_directories_have_two_tokens(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert len({read_or_make(tmp_path / name, SystemRandom()) for name in ("a", "b")}) == 2


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_its_owner_may_read_it_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        read_or_make(tmp_path, SystemRandom())
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_a_token_of_the_operators_own_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("  chosen-by-hand\n")
    assert read_or_make(tmp_path, SystemRandom()) == "chosen-by-hand"


def test_what_a_crash_left_half_written_is_not_used(tmp_path: Path) -> None:
    (tmp_path / FILE).with_suffix(".new").write_text("na_ha")
    made = read_or_make(tmp_path, SystemRandom())
    assert made != "na_ha"
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("content", [b"", b" \n", b"\xff\xfe"])
def test_a_file_without_a_usable_token_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ConfigError, match=FILE):
        read_or_make(tmp_path, SystemRandom())


def test_a_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        admin_token.read_or_make(tmp_path / "absent", SystemRandom())
