"""Every publishing snippet while the service is restarted under it: nothing is lost, and nothing is there twice."""

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import product
from threading import Event, Thread

import grpc
import pytest
from exposia.notifications.v1 import notifications_pb2 as pb
from exposia.notifications.v1 import notifications_pb2_grpc as rpc

from nginx import Nginx
from page import PUBLISHERS, mark_run, settings, snippet, start
from service import Service, until
from wire import Wire

BETWEEN_SECONDS = 0.05
# How many calls each snippet makes before a round, and after the last one.
AT_LEAST = 15


@dataclass(frozen=True)
class Round:
    """How the service ends, and for how many seconds it is away."""

    signal: str
    away: float = 0
    request_in_hand: bool = False  # so that it drains for as long as it may
    answers_lost: bool = False  # what it answered last is kept, and nginx does not hear of it


ROUNDS = [
    Round("SIGTERM"),
    Round("SIGTERM", request_in_hand=True, away=1),
    Round("SIGKILL", answers_lost=True),
    Round("SIGTERM", request_in_hand=True),
    Round("SIGKILL", answers_lost=True, away=3),
    Round("SIGTERM", away=20),  # half of the time for which a call is tried again
]


class Publisher(Thread):
    """Publishes with a snippet, one call after the other, until it is told to stop."""

    def __init__(self, name: str, stand: Service | Nginx):
        self.is_behind_nginx = isinstance(stand, Nginx)
        super().__init__(name=f"{name}-{'nginx' if self.is_behind_nginx else 'direct'}", daemon=True)
        mark_run(name)
        self.event = f"user.{self.name}.publicado"
        self.program = start(self.command(name), **settings(url=stand.url, grpc=stand.grpc))
        self.answers = []
        self.stopping = Event()

    def command(self, name: str) -> list:
        return PUBLISHERS[name]

    def run(self) -> None:
        with suppress(EOFError, BrokenPipeError):  # the program ended: `has_answers` and `stop` tell
            while not self.stopping.wait(BETWEEN_SECONDS):
                self.program.stdin.write(json.dumps(self.call(len(self.answers))) + "\n")
                self.program.stdin.flush()
                self.answers.append(self.answer())

    def call(self, n: int) -> dict | list:
        """What the program is told to publish by its call `n`."""
        return {"event": self.event, "payload": {"n": n}, "key": f"{self.name}-{n}"}

    def published(self) -> list[tuple[int, int]]:
        """Number and sequence of each event, as they were answered."""
        return [(n, int(answer["sequence"])) for n, answer in enumerate(self.answers) if answer]

    def answer(self) -> dict | list | None:
        """What the snippet returned, among what else its program prints."""
        for line in self.program.stdout:
            if line.startswith('{"payload"'):
                return json.loads(line)["answer"]
        raise EOFError(self.name)

    def stop(self) -> None:
        self.stopping.set()
        self.join()
        self.program.communicate()
        assert self.program.returncode == 0, f"{self.name} ended with {self.program.returncode}"

    def has_answers(self, count: int) -> bool:
        assert self.is_alive(), f"{self.name} ended"
        return len(self.answers) >= count


class Streamer(Publisher):
    """The same with the snippet that publishes many events by a call."""

    MANY = 50
    PROGRAM = """
import sys
for line in sys.stdin:
    print(json.dumps({"payload": "", "answer": publish_all(json.loads(line))}), flush=True)
"""

    def command(self, name: str) -> list:
        return [sys.executable, "-c", snippet(name) + self.PROGRAM]

    def call(self, n: int) -> dict | list:
        return [(self.event, {"n": n * self.MANY + more}) for more in range(self.MANY)]

    def published(self) -> list[tuple[int, int]]:
        return list(enumerate(sequence for answer in self.answers for sequence in answer))


@contextmanager
def request_in_hand(service: Service) -> Iterator[None]:
    """A request whose body does not come: while the service drains, it waits for it."""
    host, port = service.http.split(":")
    token = service.environment["WS_TOKEN"]
    head = f"POST /notify HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")  # the body is asked for: it has begun
        yield


def kept(service: Service, user: str) -> list[tuple[int, int]]:
    """What the journal has for a user, in its order: number and sequence of each."""
    metadata = [("authorization", f"Bearer {service.environment['WS_TOKEN']}")]
    found, request = [], pb.GetHistoryRequest(audience=pb.Target(users=[user]), page_size=1000)
    with grpc.insecure_channel(service.grpc) as channel:
        stub = rpc.NotificationServiceStub(channel)
        while True:
            page = stub.GetHistory(request, metadata=metadata, timeout=10)
            found += [(json.loads(event.payload_json)["n"], event.sequence) for event in page.notifications]
            if not page.has_more:
                return found
            request.after_sequence = page.next_sequence


def restart(round: Round, service: Service, wires: list[Wire], publishers: list[Publisher]) -> None:
    with ExitStack() as stack:
        if round.request_in_hand:
            stack.enter_context(request_in_hand(service))
        if round.answers_lost:
            for wire in wires:
                stack.enter_context(wire.losing_answers())
            behind = [publisher for publisher in publishers if publisher.is_behind_nginx]
            lost = lambda publisher: len(kept(service, publisher.name)) > len(publisher.published())
            until("what was kept last is not answered", lambda: all(map(lost, behind)))
        service.end(round.signal)
    Event().wait(round.away)
    service.start()


@pytest.mark.deadline(300)
def test_restarts_lose_nothing_and_double_nothing(tmp_path):
    with ExitStack() as stack:
        service = stack.enter_context(Service(tmp_path, SHUTDOWN_GRACE="2s"))
        wires = [stack.enter_context(Wire(address)) for address in (service.http, service.grpc)]
        nginx = stack.enter_context(Nginx(tmp_path, *(wire.address for wire in wires)))
        publishers = []
        kinds = [(name, Publisher) for name in PUBLISHERS] + [("python-grpc-stream", Streamer)]
        for (name, kind), stand in product(kinds, (service, nginx)):
            publishers.append(kind(name, stand))
            stack.callback(publishers[-1].program.kill)
            publishers[-1].start()

        for done, round in enumerate(ROUNDS, start=1):
            until("all publish", lambda: all(publisher.has_answers(done * AT_LEAST) for publisher in publishers))
            restart(round, service, wires, publishers)
        until("all publish", lambda: all(publisher.has_answers((done + 1) * AT_LEAST) for publisher in publishers))

        for publisher in publishers:
            publisher.stop()
        lost = {publisher.name: publisher.answers.count(None) for publisher in publishers if None in publisher.answers}
        assert not lost, f"not published, of about {len(publishers[0].answers)} each"
        for publisher in publishers:
            assert kept(service, publisher.name) == publisher.published(), publisher.name
