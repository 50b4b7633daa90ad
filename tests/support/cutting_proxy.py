"""A TCP proxy that cuts a connection when a client says a certain thing.

The server behind it may come and go: while it is away, who connects is hung up on.
"""

import contextlib
import socket
import threading


class CuttingProxy:
    """Forwards to a port. After `cut(word, after)`, the next client message with that word ends
    its connection: before the server sees it, or after it answered, without the answer.
    """

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._word = b""
        self._after = False
        self.cuts = 0
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self, word: bytes, *, after: bool) -> None:
        self._after = after
        self._word = word

    def close(self) -> None:
        for one in [self._listener, *self._open]:
            _end(one)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                client.close()
                continue
            self._open = [one for one in self._open if one.fileno() >= 0] + [client, server]
            self._threads = [one for one in self._threads if one.is_alive()]
            silent = threading.Event()
            for source, sink, asks in ((client, server, True), (server, client, False)):
                thread = threading.Thread(
                    target=self._pump, args=(source, sink, asks, silent), daemon=True
                )
                self._threads.append(thread)
                thread.start()

    def _pump(
        self, source: socket.socket, sink: socket.socket, asks: bool, silent: threading.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if asks and self._word and self._word in data:
                    self._word = b""
                    self.cuts += 1
                    if not self._after:
                        break
                    silent.set()
                elif silent.is_set():
                    break  # the server's answer: it has done it, the client never hears
                sink.sendall(data)
        _end(source)
        _end(sink)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)  # wakes who waits on it
    one.close()
