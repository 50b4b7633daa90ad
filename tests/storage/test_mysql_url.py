"""storage.url of MySQL, and the sentences for what is wrong with it."""

import pytest

from notify.config import StorageConfig
from notify.domain.errors import ConfigError
from notify.storage import open_storage
from notify.storage.mysql import MysqlStorage
from notify.storage.mysql.url import parse


def test_a_url_says_where_and_who() -> None:
    options = parse("mysql://not%40ify:p%3A%2Fw@db.example:3307/orders")
    assert options.shown == "orders on db.example:3307"
    assert options.connect["user"] == "not@ify"
    assert options.connect["password"] == b"p:/w"
    assert options.connect["database"] == "orders"
    assert (options.connect["host"], options.connect["port"]) == ("db.example", 3307)
    assert parse("mysql://u@h/d").connect["port"] == 3306
    assert parse("mysql://u:p@[::1]/d").connect["host"] == "::1"


def test_a_socket_needs_no_host_and_no_tls() -> None:
    options = parse("mysql+unix://u:p@/d?socket=/run/mysqld/mysqld.sock")
    assert options.connect["unix_socket"] == "/run/mysqld/mysqld.sock"
    assert "host" not in options.connect
    assert options.connect["ssl_disabled"] is True


def test_options_follow_the_question_mark() -> None:
    options = parse(
        "mysql://u:p@h/d?connections_max=9&connect_timeout_s=0.5&read_timeout_s=7&ssl_ca=/ca.pem"
        "&ssl_verify_cert=true&ssl_verify_identity=1&ssl_cert=c&ssl_key=k&ssl_key_password="
    )
    assert options.connections_max == 9
    assert options.connect["connect_timeout"] == 0.5
    assert (options.connect["read_timeout"], options.connect["write_timeout"]) == (7, 60)
    assert options.connect["ssl_verify_cert"] is True
    assert options.connect["ssl_key_password"] == ""


def test_no_password_is_shown() -> None:
    options = parse("mysql://u:hunter2@h/d")
    assert "hunter2" not in repr(options)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://h/d", "names no user"),
        ("mysql://u@/d", "names no host"),
        ("mysql://u@h", "names no database"),
        ("mysql://u@h/", "names no database"),
        ("mysql://u@h/a/b", "names no database"),
        ("mysql://u@h:port/d", "is no URL"),
        ("mysql://u@h/d?socket=/s", "names no host"),
        ("mysql+unix://u@/d", "has a socket"),
        ("mysql+unix://u@h/d?socket=/s", "has a socket"),
        ("mysql://u@h/d?charset=latin1", "no option 'charset'"),
        ("mysql://u@h/d?connections_max=0", "from 1 to 64"),
        ("mysql://u@h/d?connections_max=many", "connections_max is a number"),
        ("mysql://u@h/d?read_timeout_s=-1", "a number of seconds above 0"),
        ("mysql://u@h/d?ssl_disabled=maybe", "true or false"),
        ("mysql://u@h/d#x", "write it as %23"),
    ],
)
def test_a_mistake_is_named(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        open_storage(StorageConfig(url=url))


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        parse("mysql://?a=1&connections_max=99")
    assert len(error.value.problems) == 5


def test_the_scheme_chooses_it() -> None:
    assert isinstance(open_storage(StorageConfig(url="mysql://u:p@h/d")), MysqlStorage)
