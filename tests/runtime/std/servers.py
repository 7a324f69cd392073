"""Servers on this machine that say, byte by byte, what a test wants them to say."""

from __future__ import annotations

import contextlib
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

#: Returns what is sent in answer to the head of a request, piece by piece.
Answer = Callable[[str], Iterable[bytes]]


class Server(socketserver.ThreadingTCPServer):
    """A server that answers each connection once; ``asked`` is what it was asked."""

    daemon_threads = False  # the end of the block waits for all of them
    allow_reuse_address = True

    def __init__(self, answer: Answer, context: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.context = context
        self.asked: list[str] = []

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    @property
    def url(self) -> str:
        return f"http://{self.host}"


class _Handler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        server: Any = self.server
        with contextlib.suppress(OSError):  # the client may go whenever it likes
            connection = self.request
            if server.context is not None:
                connection = server.context.wrap_socket(connection, server_side=True)
            with connection:
                head = b""
                while b"\r\n\r\n" not in head:
                    chunk = connection.recv(4096)
                    if not chunk:
                        return
                    head += chunk
                server.asked.append(head.decode("latin-1"))
                for piece in server.answer(server.asked[-1]):
                    connection.sendall(piece)


@contextmanager
def serving(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Run a server that gives *answer* until the block is left."""
    with Server(answer, context) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def response(
    body: bytes = b"", *headers: str, status: str = "200 OK", length: int | None = None
) -> bytes:
    """Return a response with *headers* and the length of *body*, or another one."""
    stated = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {stated}", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body
