"""Known ways to have a sender call inside (DESIGN section 8): each is refused, and where.

A trick is refused by the grammar of URLs ("parse"), or when it is dialled ("address"): then the
look-up, where the URL has a name, gives what the row says. Nothing is allowed in these tests
but the public internet, so that whatever came as far as a socket would be another stage.
"""

from typing import NamedTuple

from notify.domain.errors import InvalidInput, TransportError
from notify.transport import HttpTransport, parse_endpoint, post
from tests.transport.conftest import BODY, head, settings

PARSE, ADDRESS = "parse", "address"


class Trick(NamedTuple):
    """finds: what the look-up of the URL's name gives, "" where nothing may be looked up."""

    url: str
    refused_at: str
    why: str
    finds: str = ""


TRICKS = [
    # Numbers that resolvers and libraries of C read as an address.
    Trick("http://2130706433/", PARSE, "decimal 127.0.0.1"),
    Trick("http://2852039166/", PARSE, "decimal 169.254.169.254"),
    Trick("http://6425673729/", PARSE, "decimal that overflows into 127.0.0.1"),
    Trick("http://00002130706433/", PARSE, "decimal with leading zeros, octal elsewhere"),
    Trick("http://017700000001/", PARSE, "octal 127.0.0.1"),
    Trick("http://0177.0.0.1/", PARSE, "octal first part"),
    Trick("http://0251.0376.0251.0376/", PARSE, "octal metadata address"),
    Trick("http://0o177.0.0.1/", PARSE, "octal of newer languages"),
    Trick("http://127.0.0.01/", PARSE, "leading zero, octal or decimal"),
    Trick("http://127.000.000.001/", PARSE, "padded parts"),
    Trick("http://0x7f000001/", PARSE, "hex 127.0.0.1"),
    Trick("http://0xa9fea9fe/", PARSE, "hex metadata address"),
    Trick("http://0x7f.0x0.0x0.0x1/", PARSE, "hex parts"),
    Trick("http://0X7F.1/", PARSE, "hex in capitals, short"),
    Trick("http://0x0a9fea9fe/", PARSE, "hex with a zero in front"),
    Trick("http://127.1/", PARSE, "two parts"),
    Trick("http://127.0.1/", PARSE, "three parts"),
    Trick("http://10.1/", PARSE, "a private address in two parts"),
    Trick("http://0/", PARSE, "0.0.0.0 in one part"),
    Trick("http://0x7f.0.1/", PARSE, "hex, short and decimal mixed"),
    Trick("http://0251.254.0xa9fe/", PARSE, "octal, decimal and hex mixed"),
    Trick("http://127.0.0.256/", PARSE, "a part that overflows"),
    Trick("http://127.0.0.1.1/", PARSE, "five parts"),
    Trick("http://127.0.0.-1/", PARSE, "a negative part"),
    # Plain addresses inside.
    Trick("http://127.0.0.1/", ADDRESS, "loopback"),
    Trick("http://127.127.127.127/", ADDRESS, "loopback is a whole network"),
    Trick("http://10.0.0.1/", ADDRESS, "RFC 1918"),
    Trick("http://172.16.0.1/", ADDRESS, "RFC 1918"),
    Trick("http://192.168.0.1/", ADDRESS, "RFC 1918"),
    Trick("http://100.64.0.1/", ADDRESS, "carrier-grade NAT"),
    Trick("http://169.254.169.254/latest/meta-data/", ADDRESS, "metadata of most clouds"),
    Trick("http://169.254.170.2/v2/credentials", ADDRESS, "metadata of AWS containers"),
    Trick("http://100.100.100.200/", ADDRESS, "metadata of Alibaba Cloud, inside 100.64/10"),
    Trick("http://168.63.129.16/", ADDRESS, "Azure, a public address that is none"),
    Trick("http://192.0.0.192/", ADDRESS, "metadata of Oracle Cloud"),
    Trick("http://0.0.0.0/", ADDRESS, "unspecified, connects to this host on Linux"),
    Trick("http://0.1.2.3/", ADDRESS, "0/8"),
    Trick("http://255.255.255.255/", ADDRESS, "broadcast"),
    Trick("http://224.0.0.1/", ADDRESS, "multicast"),
    Trick("http://239.255.255.250:1900/", ADDRESS, "multicast of UPnP"),
    Trick("http://192.88.99.1/", ADDRESS, "6to4 relay"),
    Trick("http://240.0.0.1/", ADDRESS, "reserved, routed by some"),
    Trick("http://198.18.0.1/", ADDRESS, "benchmark network, used inside by some"),
    # IPv6, and IPv4 inside of it.
    Trick("http://[::1]/", ADDRESS, "loopback"),
    Trick("http://[0:0:0:0:0:0:0:1]/", ADDRESS, "loopback written out"),
    Trick("http://[0000::0001]/", ADDRESS, "loopback with zeros"),
    Trick("http://[::]/", ADDRESS, "unspecified, connects to this host on Linux"),
    Trick("http://[::ffff:127.0.0.1]/", ADDRESS, "v4-mapped"),
    Trick("http://[::ffff:7f00:1]/", ADDRESS, "v4-mapped in hex"),
    Trick("http://[0:0:0:0:0:ffff:169.254.169.254]/", ADDRESS, "v4-mapped written out"),
    Trick("http://[::FFFF:A9FE:A9FE]/", ADDRESS, "v4-mapped in capitals"),
    Trick("http://[::127.0.0.1]/", ADDRESS, "v4-compatible"),
    Trick("http://[::a9fe:a9fe]/", ADDRESS, "v4-compatible in hex"),
    Trick("http://[::ffff:0:127.0.0.1]/", ADDRESS, "v4-translated (SIIT)"),
    Trick("http://[2002:7f00:1::]/", ADDRESS, "6to4 of 127.0.0.1"),
    Trick("http://[2002:a9fe:a9fe::1]/", ADDRESS, "6to4 of the metadata address"),
    Trick("http://[64:ff9b::127.0.0.1]/", ADDRESS, "NAT64, well-known prefix"),
    Trick("http://[64:ff9b::a9fe:a9fe]/", ADDRESS, "NAT64 in hex"),
    Trick("http://[64:ff9b:1::a00:1]/", ADDRESS, "NAT64, prefix for local use"),
    Trick("http://[2001:0:7f00:1::1]/", ADDRESS, "Teredo, by its server"),
    Trick("http://[2001::80ff:fffe]/", ADDRESS, "Teredo, client 127.0.0.1 inverted"),
    Trick("http://[2a00::5efe:7f00:1]/", ADDRESS, "ISATAP"),
    Trick("http://[2a00::200:5efe:10.0.0.1]/", ADDRESS, "ISATAP, globally unique form"),
    Trick("http://[fe80::1]/", ADDRESS, "link-local"),
    Trick("http://[fec0::1]/", ADDRESS, "site-local"),
    Trick("http://[fc00::1]/", ADDRESS, "unique local"),
    Trick("http://[fd00:ec2::254]/", ADDRESS, "metadata of AWS over IPv6"),
    Trick("http://[fd20:ce::254]/", ADDRESS, "metadata of Google over IPv6"),
    Trick("http://[ff02::1]/", ADDRESS, "multicast"),
    Trick("http://[fe80::1%25eth0]/", PARSE, "zone id"),
    Trick("http://[::1%25lo]/", PARSE, "zone id on loopback"),
    Trick("http://[::1%lo]/", PARSE, "zone id, not encoded"),
    Trick("http://[127.0.0.1]/", PARSE, "IPv4 in brackets"),
    Trick("http://[::ffff:127.1]/", PARSE, "short IPv4 inside IPv6"),
    Trick("http://[::ffff:0177.0.0.1]/", PARSE, "octal IPv4 inside IPv6"),
    Trick("http://[[::1]]/", PARSE, "brackets twice"),
    Trick("http://[::1].example.com/", PARSE, "a name behind an address"),
    Trick("http://::1/", PARSE, "IPv6 without brackets"),
    Trick("http://[::\uff11]/", PARSE, "full-width digit in IPv6"),
    # Dots, and characters that become dots and digits.
    Trick("http://127.0.0.1./", ADDRESS, "trailing dot"),
    Trick("http://127.0.0.1../", PARSE, "several trailing dots"),
    Trick("http://127..0.0.1/", PARSE, "an empty part"),
    Trick("http://.127.0.0.1/", PARSE, "leading dot"),
    Trick("http://localhost../", PARSE, "a name and several dots"),
    Trick("http://127。0。0。1/", ADDRESS, "ideographic full stops"),
    Trick("http://127\uff0e0\uff0e0\uff0e1/", ADDRESS, "full-width full stops"),
    Trick("http://127。1/", PARSE, "ideographic full stop, short"),
    Trick("http://127\uff610\uff610\uff611/", ADDRESS, "half-width ideographic full stops"),
    Trick("http://\uff11\uff12\uff17.\uff10.\uff10.\uff11/", ADDRESS, "full-width digits"),
    Trick("http://①②⑦.⓪.⓪.①/", ADDRESS, "circled digits"),
    Trick("http://①⑥⑨.②⑤④.①⑥⑨.②⑤④/", ADDRESS, "circled metadata address"),
    Trick("http://⑯⑨.254.⑯⑨.254/", ADDRESS, "circled numbers of two digits"),
    Trick(
        "http://\U0001d7cf\U0001d7d0\U0001d7d5.\U0001d7ce.\U0001d7ce.\U0001d7cf/",
        ADDRESS,
        "mathematical digits",
    ),
    Trick("http://¹²⁷.0.0.1/", ADDRESS, "superscript digits"),
    Trick("http://0\U0001d4317f.1/", PARSE, "a mathematical x"),
    Trick("http://١٢٧.0.0.1/", PARSE, "Arabic digits"),
    Trick("http://127.0.0.1\u200b/", ADDRESS, "zero-width space, dropped by IDNA"),
    Trick("http://127.0.0.1\u00ad/", ADDRESS, "soft hyphen, dropped by IDNA"),
    Trick("http://127\u200d.0.0.1/", PARSE, "zero-width joiner"),
    Trick("http://127.0.0.1\u2044@example.com/", PARSE, "a fraction slash and credentials"),
    Trick(
        "http://example.com\u2215.evil.example/",
        ADDRESS,
        "a division slash, a letter like any",
        "10.0.0.1",
    ),
    Trick("http://example.com\uff0f.evil.example/", PARSE, "a full-width slash in the host"),
    Trick("http://example.com\uff20evil.example/", PARSE, "a full-width @"),
    Trick("http://example.com\uff1a80/", PARSE, "a full-width colon"),
    Trick("http://℀.example/", PARSE, "a/c in one character: a slash after mapping"),
    # One URL, two readings.
    Trick("http://example.com@127.0.0.1/", PARSE, "credentials that look like the host"),
    Trick("http://127.0.0.1@example.com/", PARSE, "the same the other way round"),
    Trick("http://example.com:80@127.0.0.1:80/", PARSE, "credentials with a port"),
    Trick("http://a@b@127.0.0.1/", PARSE, "@ twice"),
    Trick("http://@127.0.0.1/", PARSE, "empty credentials"),
    Trick("http://example.com%40127.0.0.1/", PARSE, "an encoded @"),
    Trick("http://127.0.0.1#@example.com/", PARSE, "# ends the host for some"),
    Trick("http://example.com#@127.0.0.1/", PARSE, "the same the other way round"),
    Trick("http://127.0.0.1?@example.com/", ADDRESS, "? ends the host"),
    Trick("http://127.0.0.1\\@example.com/", PARSE, "\\ is / for browsers"),
    Trick("http://example.com\\.127.0.0.1/", PARSE, "\\ in the host"),
    Trick("http:\\\\127.0.0.1\\", PARSE, "\\ for /"),
    Trick("http:///127.0.0.1/", PARSE, "/// is // for browsers"),
    Trick("http:127.0.0.1/", PARSE, "no //"),
    Trick("//127.0.0.1/", PARSE, "no scheme"),
    Trick("http://127.0.0.1;example.com/", PARSE, "; in the host"),
    Trick("http://127.0.0.1,example.com/", PARSE, ", in the host"),
    Trick("http://127.0.0.1&@example.com/", PARSE, "& and credentials"),
    Trick("http://127.0.0.1 example.com/", PARSE, "a blank in the host"),
    Trick("http://127.0.0.1\texample.com/", PARSE, "a tab, which browsers drop"),
    Trick("http://127.0.\n0.1/", PARSE, "a line end, which browsers drop"),
    Trick("http://127.0.0.1/\r\nhost: example.com", PARSE, "a line end in the path"),
    Trick("http://127.0.0.1%0d%0a/", PARSE, "an encoded line end in the host"),
    Trick("http://127.0.0.1\x00.example.com/", PARSE, "NUL in the host"),
    Trick("http://127.0.0.1%00.example.com/", PARSE, "encoded NUL"),
    Trick("http://%31%32%37.0.0.1/", PARSE, "percent-encoded digits"),
    Trick("http://127%2e0%2e0%2e1/", PARSE, "percent-encoded dots"),
    Trick("http://%6cocalhost/", PARSE, "percent-encoded name"),
    Trick("http://127.0.0.1%2f@example.com/", PARSE, "an encoded slash"),
    Trick("http://example.com:80:127.0.0.1/", PARSE, "two colons"),
    Trick("http://example.com:80\\@127.0.0.1:80/", PARSE, "port, \\ and @"),
    Trick("http://example.com:@127.0.0.1/", PARSE, "an empty port and @"),
    Trick("http://127.0.0.1:00080000/", PARSE, "a port that overflows"),
    Trick("http://127.0.0.1:65616/", PARSE, "a port that is 80 in 16 bits"),
    Trick("http://127.0.0.1:0x50/", PARSE, "a hex port"),
    Trick("http://127.0.0.1:80 @example.com/", PARSE, "port, blank and @"),
    # Other schemes.
    Trick("gopher://127.0.0.1:6379/_FLUSHALL", PARSE, "bytes to any port"),
    Trick("file:///etc/passwd", PARSE, "a file"),
    Trick("dict://127.0.0.1:11211/stats", PARSE, "lines to any port"),
    Trick("ftp://127.0.0.1/", PARSE, "another protocol"),
    Trick("http+unix://%2frun%2fdocker.sock/", PARSE, "a socket of this host"),
    Trick("url:http://127.0.0.1/", PARSE, "a scheme around a scheme"),
    # Names that lead inside.
    Trick("http://localhost/", ADDRESS, "loopback", "127.0.0.1"),
    Trick("http://localhost./", ADDRESS, "loopback, absolute", "127.0.0.1"),
    Trick("http://LOCALHOST/", ADDRESS, "loopback in capitals", "127.0.0.1"),
    Trick("http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/", ADDRESS, "loopback in circled letters", "127.0.0.1"),
    Trick("http://localhost.localdomain/", ADDRESS, "loopback in a domain", "127.0.0.1"),
    Trick("http://hook.localhost/", ADDRESS, "*.localhost (RFC 6761)", "127.0.0.1"),
    Trick("http://ip6-localhost/", ADDRESS, "loopback of /etc/hosts", "::1"),
    Trick("http://127.0.0.1.nip.io/", ADDRESS, "wildcard DNS", "127.0.0.1"),
    Trick("http://7f000001.nip.io/", ADDRESS, "wildcard DNS in hex", "127.0.0.1"),
    Trick("http://10-0-0-1.sslip.io/", ADDRESS, "wildcard DNS with dashes", "10.0.0.1"),
    Trick("http://metadata.google.internal/", ADDRESS, "metadata by name", "169.254.169.254"),
    Trick("http://metadata/", ADDRESS, "the same in a search domain", "169.254.169.254"),
    Trick("http://instance-data/", ADDRESS, "metadata of AWS by name", "169.254.169.254"),
    Trick("http://metadata.tencentyun.com/", ADDRESS, "metadata by name", "169.254.0.23"),
    Trick("http://inside.example/", ADDRESS, "a CNAME gives the address it ends at", "10.0.0.1"),
    Trick("http://inside.example/", ADDRESS, "a private AAAA", "fd00::1"),
    Trick("http://inside.example/", ADDRESS, "a v4-mapped AAAA", "::ffff:127.0.0.1"),
    Trick("http://inside.example/", ADDRESS, "an AAAA with a scope", "fe80::1%eth0"),
    Trick("http://inside.example/", ADDRESS, "an AAAA of NAT64", "64:ff9b::a00:1"),
    Trick("http://inside.example/", ADDRESS, "all of several", "10.0.0.1 ::1 169.254.169.254"),
    Trick("http://kubernetes.default.svc/", ADDRESS, "a service of the cluster", "10.96.0.1"),
    Trick("http://xn--inside-0ta.example/", ADDRESS, "punycode", "127.0.0.1"),
    Trick("http://ínside.example/", ADDRESS, "IDN", "127.0.0.1"),
    Trick("https://inside.example/", ADDRESS, "TLS changes nothing", "127.0.0.1"),
]


def test_there_are_enough_of_them() -> None:
    assert len(set(TRICKS)) == len(TRICKS) >= 60


def test_each_is_refused_where_the_table_says(run) -> None:
    # One test for all: a client for each row would take longer than all the rows.
    asked: list[str] = []
    wrong: list[str] = []
    finds = ""

    async def lookup(host, port):
        asked.append(host)
        return finds.split()

    async def refused_at(transport: HttpTransport, url: str) -> str:
        try:
            endpoint = parse_endpoint(url)
        except InvalidInput:
            return PARSE
        transport._resolver.forget(endpoint.host)
        try:
            await post(transport, endpoint, head(endpoint), BODY, 1000, 1024)
        except TransportError as error:
            return error.stage
        return "nowhere"

    async def scenario():
        nonlocal finds
        transport = HttpTransport(settings(allow_cidrs=[]), lookup=lookup)
        for trick in TRICKS:
            asked.clear()
            finds = trick.finds
            stage = await refused_at(transport, trick.url)
            if stage != trick.refused_at or bool(asked) != bool(finds):
                wrong.append(f"{trick.url!r} ({trick.why}): {stage}, looked up {asked}")
        await transport.close()

    run(scenario())
    assert wrong == []


def test_a_redirect_to_inside_is_an_answer_like_any(run, world) -> None:
    async def scenario():
        async with world(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") as inside:
            for code in (301, 302, 303, 307, 308):
                to = b"http://127.0.0.1:%d/hook" % inside.peer.endpoint.port
                answer = b"HTTP/1.1 %d Moved\r\nlocation: %b\r\ncontent-length: 0\r\n\r\n"
                async with world(answer % (code, to)) as outside:
                    assert (await outside.post()).code == code
            assert inside.peer.accepted == 0

    run(scenario())


def test_of_several_addresses_those_inside_are_not_called(run, world) -> None:
    async def lookup(host, port):
        return ["127.0.0.2", "169.254.169.254", "::1", "127.0.0.1"]

    async def scenario():
        ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
        async with world(ok, client={"lookup": lookup}, allow_cidrs=["127.0.0.1/32"]) as w:
            assert (await w.post(endpoint=w.peer.endpoint._replace(host="two.example"))).code == 200

    run(scenario())
