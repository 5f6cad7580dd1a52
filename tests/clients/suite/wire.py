"""A wire to a service, on which what the service says can be lost."""

import socket
from contextlib import contextmanager, suppress
from threading import Thread


class Wire:
    """Passes bytes on between whoever connects and an address, to which it comes from the address `source`."""

    def __init__(self, address: str, source: str = "127.0.0.1"):
        host, port = address.split(":")
        self.target = (host, int(port))
        self.source = (source, 0)
        self.is_losing_answers = False
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"

    def __enter__(self):
        Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                client, _ = self.listener.accept()
                try:
                    service = socket.create_connection(self.target, source_address=self.source)
                except OSError:
                    client.close()
                    continue
                Thread(target=self.pass_on, args=(client, service, False), daemon=True).start()
                Thread(target=self.pass_on, args=(service, client, True), daemon=True).start()

    def pass_on(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):  # one of them is gone
            while data := source.recv(65536):
                if not (is_answer and self.is_losing_answers):
                    sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    @contextmanager
    def losing_answers(self):
        """Loses what the service says meanwhile."""
        self.is_losing_answers = True
        try:
            yield
        finally:
            self.is_losing_answers = False
