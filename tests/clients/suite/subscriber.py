"""A WebSocket subscriber that sees every byte."""

import json
import re
import uuid
from urllib.parse import urlencode

from websockets.sync.client import connect

SPACE = re.compile(r"[ \t\r\n]*")
DECODER = json.JSONDecoder()


def raw_fields(text: str) -> dict[str, str]:
    """The fields of a JSON object, each as the text that stands there."""
    fields = {}
    place = SPACE.match(text).end() + 1
    while True:
        place = SPACE.match(text, place).end()
        if text[place] == "}":
            return fields
        if text[place] == ",":
            place = SPACE.match(text, place + 1).end()
        key, place = DECODER.raw_decode(text, place)
        start = SPACE.match(text, SPACE.match(text, place).end() + 1).end()
        _, place = DECODER.raw_decode(text, start)
        fields[key] = text[start:place]


class Frame:
    """A message as it came."""

    def __init__(self, text: str):
        self.text = text
        self.raw = raw_fields(text)
        self.message = json.loads(text)

    def __getitem__(self, field):
        return self.message[field]

    def __repr__(self):
        return self.text


class Subscriber:
    def __init__(self, base_url: str, client_id: str | None = None, **query):
        self.client_id = client_id or f"test-{uuid.uuid4().hex}"
        url = base_url.replace("http", "ws", 1) + f"/ws/{self.client_id}"
        self.connection = connect(f"{url}?{urlencode(query)}" if query else url)

    def __enter__(self):
        self.socket = self.connection.__enter__()
        self.welcome = self.next()
        assert self.welcome["type"] == "connection_established", self.welcome
        return self

    @property
    def is_compressed(self) -> bool:
        """Whether the server agreed to compress: the client always offers it."""
        return any(extension.name == "permessage-deflate" for extension in self.socket.protocol.extensions)

    def __exit__(self, *details):
        return self.connection.__exit__(*details)

    def send(self, message: dict) -> None:
        self.socket.send(json.dumps(message))

    def next(self, kind: str | None = None) -> Frame:
        """The next message; of that type, if one is given."""
        while True:
            frame = Frame(self.socket.recv(timeout=30))
            if kind is None or frame["type"] == kind:
                return frame

    def notifications_until(self, notification_id: str) -> list[Frame]:
        """The notifications before that one, checked to be in order.

        Notifications come in the order of their sequences, so once that one is there, whatever was published before it is
        there as well, or will never be.
        """
        frames, last = [], self.welcome["seq"]
        while True:
            frame = self.next("system_notification")
            assert frame["seq"] > last, f"sequence {frame['seq']} came after {last}"
            last = frame["seq"]
            if frame["id"] == notification_id:
                return frames
            frames.append(frame)
