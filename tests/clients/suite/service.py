"""A service of the suite's own: it can be ended, and started again with the same data on the same ports."""

import os
import random
import signal
import socket
import subprocess
import time
from pathlib import Path

import requests

from conftest import TOKEN

PATIENCE_SECONDS = 60


def free_port() -> int:
    """A port that nobody listens on. The system gives it to nobody who dials, so it stays free while the service is away."""
    low = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, max(low, 20_000))
        with socket.socket() as taken:
            try:
                taken.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def until(what: str, happened) -> None:
    """Asks again and again until it happened."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        assert time.monotonic() < end, f"did not happen in {PATIENCE_SECONDS} s: {what}"
        time.sleep(0.02)


class Service:
    """The binary that SERVER names, with a folder of its own."""

    def __init__(self, folder: Path, **settings: str):
        self.folder = folder
        self.http, self.grpc = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.http}"
        self.environment = {
            "HOST": "127.0.0.1",
            "PORT": self.http.split(":")[1],
            "GRPC_PORT": self.grpc.split(":")[1],
            "DATA_DIR": str(folder / "data"),
            "WS_TOKEN": TOKEN,
            **settings,
        }

    def start(self) -> None:
        """Starts it and waits until it serves."""
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([os.environ["SERVER"]], cwd=self.folder, env=self.environment, stderr=log)
        until("the service serves", self.is_healthy)

    def is_healthy(self) -> bool:
        assert self.process.poll() is None, (self.folder / "log").read_text()
        return self.health() == 200

    def health(self) -> int | None:
        """The status of its health; None while nobody answers."""
        try:
            return requests.get(f"{self.url}/health", timeout=5).status_code
        except requests.ConnectionError:
            return None

    def end(self, name: str) -> None:
        """Ends it by that signal."""
        self.process.send_signal(signal.Signals[name])
        self.process.wait(PATIENCE_SECONDS)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
