"""An HTTPS endpoint that answers 200 at once, on a thread; part of bench.endpoints.

TLS over a loop's transports costs three times what it costs over plain non-blocking sockets, and
then the endpoint would be what is measured.
"""

import select
import socket
import ssl
import threading
from collections.abc import Callable

READ_BYTES = 65536


class Peer:
    """One connection: the socket, whether the handshake is done, bytes left of the request."""

    __slots__ = ("left", "shaken", "sock")

    def __init__(self, sock: ssl.SSLSocket) -> None:
        self.sock = sock
        self.shaken = False
        self.left = 0


def serve(
    listener: socket.socket,
    pem: str,
    answer: bytes,
    answered: Callable[[], None],
    length_of: Callable[[bytes], int],
) -> None:
    """Serve on a daemon thread. length_of: a request's whole length by its first piece."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    peers: dict[int, Peer] = {}

    def accept() -> None:
        plain, _ = listener.accept()
        plain.setblocking(False)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        peers[sock.fileno()] = Peer(sock)
        poll.register(sock.fileno(), select.EPOLLIN)

    def read(peer: Peer) -> None:
        if not peer.shaken:
            peer.sock.do_handshake()
            peer.shaken = True
        # What TLS has decoded is not announced by the poll: until it wants more from the socket.
        while data := peer.sock.recv(READ_BYTES):
            peer.left += (0 if peer.left else length_of(data)) - len(data)
            if not peer.left:
                answered()
                peer.sock.send(answer)
                if not peer.sock.pending():
                    return
        raise ConnectionResetError

    def run() -> None:
        while True:
            for number, _ in poll.poll():
                if number == listener.fileno():
                    accept()
                    continue
                peer = peers[number]
                try:
                    read(peer)
                except ssl.SSLWantReadError:
                    pass
                except OSError:
                    del peers[number]
                    poll.unregister(number)
                    peer.sock.close()

    threading.Thread(target=run, daemon=True).start()
