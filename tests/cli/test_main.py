"""The command line: what it shows, and how it says that something is wrong."""

from pathlib import Path

import pytest

import notify
from notify.cli import main


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing configured from outside."""
    for name in ("NOTIFY_API__PORT", "NOTIFY_STORAGE__URL", "NOTIFY_API__ADMIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def exit_code(*args: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(args))
    code = caught.value.code
    assert isinstance(code, int)
    return code


def test_the_version_tells_which_core_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--version") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"notify {notify.__version__} (core: ")
    assert out.rstrip().endswith(("compiled)", "pure)"))


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("-h") == 0
    out = capsys.readouterr().out
    assert {"config", "demo", "up"} <= set(out.split())


def test_config_shows_what_would_be_used(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "notify.toml"
    file.write_text('[api]\nport = 1\nhost = "0.0.0.0"\nadmin_token = "na_hidden"\n')
    monkeypatch.setenv("NOTIFY_API__PORT", "2")
    assert exit_code("config", "--config", str(file)) == 0
    out = capsys.readouterr().out
    assert "  port = 2  (NOTIFY_API__PORT)" in out
    assert "  host = '0.0.0.0'  (NOTIFY_API__HOST)" in out
    assert "na_hidden" not in out


def test_an_unknown_command_is_refused_with_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("deliver") == 2
    err = capsys.readouterr().err
    assert "No such command 'deliver'" in err
    assert "-h" in err


def test_every_mistake_in_the_configuration_is_a_line_and_the_exit_code_1(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_API__PORT", "many")
    monkeypatch.setenv("NOTIFY_API__PROT", "8470")
    assert exit_code("config") == 1
    caught = capsys.readouterr()
    assert caught.out == ""
    assert caught.err.splitlines() == [
        "notify: NOTIFY_API__PORT: Expected `int`, got `str`",
        "NOTIFY_API__PROT: there is no option api.prot; see `notify config`",
    ]


def test_up_says_what_it_cannot_use_before_it_touches_anything(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    assert exit_code("up", "--data-dir", str(data), "--port", "70000") == 1
    assert "api.port must be 0 (any free port) to 65535" in capsys.readouterr().err
    assert not data.exists()


def test_a_file_that_is_not_there_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert exit_code("config", "--config", str(tmp_path / "none.toml")) == 1
    assert "none.toml: cannot be read: No such file" in capsys.readouterr().err
