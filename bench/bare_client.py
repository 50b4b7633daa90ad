"""The ceiling of a Sender in Python: the same requests with nothing around them.

python -m bench.bare_client URLS.json DELIVERIES [--certificate PEM]

An epoll loop writes ready-made requests and counts answers of the one known length: no signature,
no queue, no parser, no time-outs, no pool. Prints how many requests it has made, now and then.
"""

import argparse
import json
import select
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from bench.endpoints import ANSWER
from bench.lone_sender import body

IN_FLIGHT = 64
SAID_EVERY = 1000


def request(url: str) -> bytes:
    """A request as long as a Sender's."""
    parts = urlsplit(url)
    content = body()
    return (
        f"POST {parts.path} HTTP/1.1\r\nhost: {parts.netloc}\r\nuser-agent: notify/0.1.0\r\n"
        "content-type: application/json\r\nwebhook-id: 7031000000000000000\r\n"
        "webhook-timestamp: 1700000000\r\n"
        "webhook-signature: v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=\r\n"
        "notify-event-type: order.paid\r\nnotify-subscription: 1\r\nnotify-attempt: 1\r\n"
        f"content-length: {len(content)}\r\n\r\n"
    ).encode() + content


def connected(url: str, certificate: str | None) -> socket.socket:
    parts = urlsplit(url)
    assert parts.hostname
    made = socket.create_connection((parts.hostname, parts.port or 80))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=certificate)
        made = context.wrap_socket(made, server_hostname=parts.hostname)
    made.setblocking(False)
    return made


def run(urls: list[str], deliveries: int, certificate: str | None) -> None:
    poll = select.epoll()
    calls = {}
    for number in range(IN_FLIGHT):
        url = urls[number % len(urls)]
        made = connected(url, certificate)
        calls[made.fileno()] = (made.recv, made.send, request(url), made)
        poll.register(made.fileno(), select.EPOLLIN)
    begun, answered, expected = 0, 0, len(ANSWER)
    for _, send, wanted, _ in calls.values():
        send(wanted)
        begun += 1
    while answered < deliveries:
        for number, _ in poll.poll():
            receive, send, wanted, _ = calls[number]
            try:
                got = receive(65536)
            except ssl.SSLWantReadError:
                continue  # a session ticket
            assert len(got) == expected, got
            answered += 1
            if begun < deliveries:
                send(wanted)
                begun += 1
            if not answered % SAID_EVERY:
                print(answered, flush=True)
    print(answered, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("urls", type=Path)
    parser.add_argument("deliveries", type=int)
    parser.add_argument("--certificate")
    asked = parser.parse_args()
    run(json.loads(asked.urls.read_text()), asked.deliveries, asked.certificate)


if __name__ == "__main__":
    main()
