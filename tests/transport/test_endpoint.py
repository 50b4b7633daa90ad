import pytest
from hypothesis import given
from hypothesis import strategies as st

from notify.domain.errors import InvalidInput
from notify.domain.ports import Endpoint
from notify.transport import check_headers, host_header, parse_endpoint, request_prefix

ACCEPTED = {
    "http://example.com": Endpoint(False, "example.com", 80, None, "/"),
    "https://example.com": Endpoint(True, "example.com", 443, None, "/"),
    "HTTPS://EXAMPLE.COM/Hook": Endpoint(True, "example.com", 443, None, "/Hook"),
    "http://example.com:8080/a/b?c=d&e=f": Endpoint(
        False, "example.com", 8080, None, "/a/b?c=d&e=f"
    ),
    "http://example.com?c=d": Endpoint(False, "example.com", 80, None, "/?c=d"),
    "http://example.com./x": Endpoint(False, "example.com", 80, None, "/x"),
    "http://localhost/": Endpoint(False, "localhost", 80, None, "/"),
    "http://order_service-1/": Endpoint(False, "order_service-1", 80, None, "/"),
    "http://127.0.0.1:1/": Endpoint(False, "127.0.0.1", 1, None, "/"),
    "http://127.0.0.1./": Endpoint(False, "127.0.0.1", 80, None, "/"),
    "http://[::1]:8080/": Endpoint(False, "::1", 8080, None, "/"),
    "http://[2001:DB8:0:0::0001]": Endpoint(False, "2001:db8::1", 80, None, "/"),
    "http://bücher.example/": Endpoint(False, "xn--bcher-kva.example", 80, None, "/"),
    "http://xn--bcher-kva.example/": Endpoint(False, "xn--bcher-kva.example", 80, None, "/"),
    "http://中国.example/": Endpoint(False, "xn--fiqs8s.example", 80, None, "/"),
    "http://example.com/%2e%2e/a[]?b[]=1": Endpoint(
        False, "example.com", 80, None, "/%2e%2e/a[]?b[]=1"
    ),
    "http://1.example/": Endpoint(False, "1.example", 80, None, "/"),
    "http://example.com:65535/": Endpoint(False, "example.com", 65535, None, "/"),
    "http://example.com//evil.example/@x": Endpoint(
        False, "example.com", 80, None, "//evil.example/@x"
    ),
}

REFUSED = {
    "": "http://",
    "example.com": "http://",
    "ftp://example.com/": "http://",
    "file:///etc/passwd": "http://",
    "gopher://127.0.0.1:6379/_FLUSHALL": "http://",
    "javascript:alert(1)": "http://",
    "//example.com/": "http://",
    "http:/example.com/": "http://",
    "http:example.com/": "http://",
    "http//example.com": "http://",
    "http+unix://%2fvar%2frun%2fdocker.sock/": "http://",
    "http://": "no host",
    "http:///path": "no host",
    "http://:80/": "no host",
    "http://./": "no host",
    "http://?x": "no host",
    "http://user@example.com/": "credentials",
    "http://user:pass@example.com/": "credentials",
    "http://example.com@127.0.0.1/": "credentials",
    "http://@example.com/": "credentials",
    "http://127.0.0.1:80@example.com:80/": "credentials",
    "http://example.com/#x": "fragment",
    "http://example.com#@127.0.0.1/": "fragment",
    "http://example.com/#": "fragment",
    "http://example.com:0/": "port",
    "http://example.com:65536/": "port",
    "http://example.com:/": "port",
    "http://example.com:-1/": "port",
    "http://example.com:+80/": "port",
    "http://example.com:8_0/": "port",
    "http://example.com:80a/": "port",
    "http://example.com:٨٠/": "port",
    "http://example.com:1234567/": "port",
    "http://example.com:80:90/": "square brackets",
    " http://example.com/": "blank",
    "http://example.com/ ": "blank",
    "http://exa mple.com/": "blank",
    "http://example.com/a b": "blank",
    "http://example.com/\r\nx: y": "control",
    "http://exam\tple.com/": "control",
    "http://example.com/\x00": "control",
    "http://example.com/\x7f": "control",
    "http://example.com\u2028/": "control",
    "http://example.com\\@127.0.0.1/": "backslash",
    "http:\\\\example.com\\": "backslash",
    "http://" + "a" * 2050: "2048",
    "http://example.com/" + "a" * 2048: "2048",
    "http://2130706433/": "four decimal numbers",
    "http://0x7f000001/": "four decimal numbers",
    "http://0x7f.1/": "four decimal numbers",
    "http://0X7F.0x1/": "four decimal numbers",
    "http://0177.0.0.1/": "four decimal numbers",
    "http://017700000001/": "four decimal numbers",
    "http://127.1/": "four decimal numbers",
    "http://127.0.1/": "four decimal numbers",
    "http://0/": "four decimal numbers",
    "http://0x/": "four decimal numbers",
    "http://127.0.0.01/": "four decimal numbers",
    "http://127.0.0.256/": "four decimal numbers",
    "http://127.0.0.0.1/": "four decimal numbers",
    "http://a.b.1/": "four decimal numbers",
    "http://127.0.0.1../": "host name",
    "http://①②⑦.①/": "four decimal numbers",
    "http://127。1/": "four decimal numbers",
    "http://example..com/": "host name",
    "http://.example.com/": "host name",
    "http://-a.example/": "host name",
    "http://a-.example/": "host name",
    "http://ex%61mple.com/": "host name",
    "http://127.0.0.1%00.example/": "host name",
    "http://exa$mple.com/": "host name",
    "http://a,b/": "host name",
    "http://" + "a" * 64 + ".example/": "host name",
    "http://" + "a." * 130 + "example/": "253",
    "http://straße.example/": "punycode",
    "http://a\u200db.example/": "punycode",
    "http://ex\u00ad..\u00e4mple/": "international",
    "http://[::1": "[address]",
    "http://[::1]x/": "[address]",
    "http://[::1]8080/": "[address]",
    "http://::1/": "square brackets",
    "http://[]/": "not an IPv6",
    "http://[::g]/": "not an IPv6",
    "http://[127.0.0.1]/": "not an IPv6",
    "http://[v1.x]/": "not an IPv6",
    "http://[fe80::1%eth0]/": "scope",
    "http://[fe80::1%25eth0]/": "scope",
    "http://example.com/é": "percent-encoded",
    "http://example.com/%zz": "percent-encoded",
    "http://example.com/%2": "percent-encoded",
    "http://example.com/<x>": "percent-encoded",
    'http://example.com/"': "percent-encoded",
}


@pytest.mark.parametrize(("url", "endpoint"), ACCEPTED.items())
def test_accepts_in_one_canonical_form(url: str, endpoint: Endpoint) -> None:
    assert parse_endpoint(url) == endpoint


@pytest.mark.parametrize(("url", "reason"), REFUSED.items())
def test_refuses_with_the_reason(url: str, reason: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_endpoint(url)
    assert reason in str(caught.value)


@given(st.text() | st.text().map("http://{}".format) | st.from_regex(r"https?://[!-~]{1,40}"))
def test_any_text_is_parsed_or_refused_and_makes_one_safe_request_line(url: str) -> None:
    try:
        endpoint = parse_endpoint(url)
    except InvalidInput:
        return
    lines = request_prefix(endpoint, {}).split(b"\r\n")
    assert len(lines) == 4
    assert lines[0].count(b" ") == 2
    assert (
        parse_endpoint(f"http{'s' * endpoint.tls}://{host_header(endpoint)}{endpoint.target}")
        == endpoint
    )


def test_prefix_has_the_request_line_host_agent_and_the_consumers_headers() -> None:
    prefix = request_prefix(parse_endpoint("http://[::1]:8080/x?y"), {"X-Team": "a b"})
    lines = prefix.split(b"\r\n")
    assert lines[:2] == [b"POST /x?y HTTP/1.1", b"host: [::1]:8080"]
    assert lines[2].startswith(b"user-agent: notify/")
    assert lines[3:] == [b"x-team: a b", b""]


def test_a_consumer_may_name_its_own_agent() -> None:
    prefix = request_prefix(parse_endpoint("https://a.example"), {"User-Agent": "own"})
    assert prefix == b"POST / HTTP/1.1\r\nhost: a.example\r\nuser-agent: own\r\n"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "x"},
        {"content-length": "0"},
        {"Transfer-Encoding": "chunked"},
        {"connection": "close"},
        {"content-type": "text/plain"},
        {"expect": "100-continue"},
        {"proxy-anything": "x"},
        {"http2-settings": "x"},
        {"Webhook-Id": "x"},
        {"notify-attempt": "1"},
        {"a b": "x"},
        {"": "x"},
        {"a:": "x"},
        {"é": "x"},
        {"a": "x\r\nhost: y"},
        {"a": "x\ny"},
        {"a": " x"},
        {"a": "é"},
        {"a": "x\x00"},
        {"a": "1", "A": "2"},
        {"a": ""},
        {"a": "x" * 4096},
        {f"h{n}": "x" for n in range(33)},
    ],
)
def test_refuses_headers_that_would_break_the_request(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        check_headers(headers)


def test_headers_up_to_the_limits_are_accepted() -> None:
    check_headers({"a": "x" * 4095})
    check_headers({f"h{n}": "x" for n in range(32)})
