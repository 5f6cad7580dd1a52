"""Fixtures: the server under test, and subscribers."""

import os
import socket
import uuid
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
import requests

from subscriber import Subscriber

BASE_URL = os.environ["BASE_URL"].rstrip("/")
GRPC_ADDR = os.environ["GRPC_ADDR"]
TOKEN = os.environ["TOKEN"]
WORK = Path(os.environ["WORK"])


@pytest.fixture
def run_id():
    """A name that no other test uses: for users, rooms and keys."""
    return uuid.uuid4().hex[:12]


@pytest.fixture
def subscribe(pytestconfig):
    """Opens subscribers: `subscribe(room="admin", user_id="7")`. Each is connected when it is returned."""

    def connect(**query):
        subscriber = stack.enter_context(Subscriber(BASE_URL, **query))
        assert subscriber.is_compressed == pytestconfig.getoption("compressed")
        return subscriber

    with ExitStack() as stack:
        yield connect


def pytest_addoption(parser):
    parser.addoption("--compressed", action="store_true", help="the server takes up permessage-deflate")


@pytest.fixture
def notify():
    """Posts a body, text or object, to /notify."""

    def post(body, **headers):
        content = {"data": body} if isinstance(body, (bytes, str)) else {"json": body}
        headers = {"Authorization": f"Bearer {TOKEN}", **headers}
        return requests.post(f"{BASE_URL}/notify", headers=headers, timeout=10, **content)

    return post


@pytest.fixture
def channel():
    with grpc.insecure_channel(GRPC_ADDR) as channel:
        yield channel


@pytest.fixture
def metadata():
    return [("authorization", f"Bearer {TOKEN}")]


@pytest.fixture
def closed_port():
    """A port that is taken and that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)


def pytest_configure(config):
    config.addinivalue_line("markers", "last: runs after everything else")
