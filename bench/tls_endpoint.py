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


class TlsEndpoint:
    """length_of: a request's whole length by its first piece. answered: called at each answer."""

    def __init__(
        self,
        listener: socket.socket,
        pem: str,
        answer: bytes,
        answered: Callable[[], None],
        length_of: Callable[[bytes], int],
    ) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pem)
        self._listener = listener
        self._answer = answer
        self._answered = answered
        self._length_of = length_of
        self._poll = select.epoll()
        self._peers: dict[int, Peer] = {}

    def start(self) -> None:
        """Serve on a daemon thread."""
        self._poll.register(self._listener.fileno(), select.EPOLLIN)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            for number, _ in self._poll.poll():
                peer = self._peers.get(number)
                if peer is None:
                    self._accept()
                    continue
                try:
                    self._read(peer)
                except ssl.SSLWantReadError:
                    pass
                except OSError:
                    del self._peers[number]
                    self._poll.unregister(number)
                    peer.sock.close()

    def _accept(self) -> None:
        plain, _ = self._listener.accept()
        plain.setblocking(False)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock = self._context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        self._peers[sock.fileno()] = Peer(sock)
        self._poll.register(sock.fileno(), select.EPOLLIN)

    def _read(self, peer: Peer) -> None:
        if not peer.shaken:
            peer.sock.do_handshake()
            peer.shaken = True
        # What is decoded already is not announced by the poll.
        while data := peer.sock.recv(READ_BYTES):
            peer.left += (0 if peer.left else self._length_of(data)) - len(data)
            if not peer.left:
                self._answered()
                peer.sock.send(self._answer)
                if not peer.sock.pending():
                    return
        raise ConnectionResetError
