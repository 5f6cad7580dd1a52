"""Publishing by `h2load`, as fast as it goes."""

import json
import pathlib
import re
import subprocess
import tempfile

SERVICE = "/exposia.notifications.v1.NotificationService/"
EVENT = "bench.event"
PAYLOAD = json.dumps({"ts": "0", "pad": "x" * 200})
JSON = f'{{"event":"{EVENT}","payload":{PAYLOAD}}}'.encode()

# How many events a stream has.
STREAM_LENGTH = 10_000

GRPC = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
UNARY = ["-c", "8", "-m", "16", *GRPC]
STREAM = ["-c", "1", "-m", "1", "-w", "22", "-W", "22", *GRPC]
REST = ["--h1", "-c", "64", "-m", "1", "-H", "content-type: application/json"]


def field(number, content):
    """A field of a protobuf message that holds up to 16,383 bytes."""
    length = len(content)
    size = [length] if length < 128 else [length % 128 | 128, length // 128]
    return bytes([number << 3 | 2, *size]) + content


def message(user=None):
    """An event as gRPC sends it, for a user or for whom the rules say."""
    target = field(7, field(1, user.encode())) if user else b""
    content = field(1, EVENT.encode()) + field(3, PAYLOAD.encode()) + target
    return b"\0" + len(content).to_bytes(4, "big") + content


def publish(address, body, times, how):
    """Sends `body` so many times. Gives requests a second."""
    with tempfile.NamedTemporaryFile() as file:
        pathlib.Path(file.name).write_bytes(body)
        command = ["taskset", "-c", "1", "h2load", "-t", "1", "-n", str(times), "-d", file.name, "-H", "authorization: Bearer dev"]
        output = subprocess.run([*command, *how, address], check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(re.search(r"([\d.]+) req/s", output)[1])


def call(server, name):
    """The address of a call."""
    return f"http://127.0.0.1:{server.grpc_port}{SERVICE}{name}"
