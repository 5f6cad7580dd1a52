"""The configuration of nginx on the page."""

import json
import re
from contextlib import ExitStack

import grpc
import pytest
import requests
from exposia.notifications.v1 import notifications_pb2 as pb
from exposia.notifications.v1 import notifications_pb2_grpc as rpc

from conftest import TOKEN
from nginx import Nginx
from service import Service, until
from subscriber import Subscriber
from wire import Wire

CLIENT = "127.0.0.2"
MADE_UP = "203.0.113.7"


@pytest.fixture
def stand(tmp_path):
    """A service and the nginx before it, which the service trusts."""
    with ExitStack() as stack:
        service = stack.enter_context(Service(tmp_path, JOURNAL="memory", TRUSTED_PROXIES="127.0.0.1"))
        yield service, stack.enter_context(Nginx(tmp_path, service.http, service.grpc))


def metadata(token=TOKEN, **more):
    return [("authorization", f"Bearer {token}"), *more.items()]


def test_all_kinds_of_requests_come_through(stand, run_id):
    _, nginx = stand
    with Subscriber(nginx.url, user_id=run_id) as subscriber:
        event = {"event": f"user.{run_id}.n", "payload": {}}
        answer = requests.post(f"{nginx.url}/notify", json=event, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)
        assert subscriber.next("system_notification")["id"] == answer.json()["id"]
    with grpc.insecure_channel(nginx.grpc) as channel:
        stub = rpc.NotificationServiceStub(channel)
        assert stub.GetHistory(pb.GetHistoryRequest(), metadata=metadata(), timeout=10).newest_sequence == 1


def test_a_stream_may_be_longer_than_a_body(stand, run_id):
    """nginx allows a body of 1 MiB by itself, and counts all messages of a stream as one."""
    _, nginx = stand
    payload = json.dumps({"x": "x" * 1000}).encode()
    events = [pb.PublishRequest(event=f"user.{run_id}.n", payload_json=payload)] * 3000
    with grpc.insecure_channel(nginx.grpc) as channel:
        results = rpc.NotificationServiceStub(channel).PublishStream(iter(events), metadata=metadata(), timeout=50)
        assert [result.WhichOneof("outcome") for result in results] == ["accepted"] * len(events)


def test_a_body_that_is_too_large_is_refused_by_the_service(stand):
    _, nginx = stand
    event = {"event": "presentacion.creada", "payload": {"x": "x" * (2 << 20)}}
    answer = requests.post(f"{nginx.url}/notify", json=event, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=10)
    assert answer.status_code == 413 and "detail" in answer.json()


def refused_addresses(service):
    """The addresses of the refusals in the service's log."""
    return re.findall(r" address=(\S+)", (service.folder / "log").read_text())


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
def test_no_client_makes_its_address_up(stand, header):
    service, nginx = stand
    made_up = {header: f"for={MADE_UP}" if header == "forwarded" else MADE_UP}
    with Wire(nginx.http, CLIENT) as to_http, Wire(nginx.grpc, CLIENT) as to_grpc:
        headers = {"Authorization": "Bearer wrong", **made_up}
        answer = requests.post(f"http://{to_http.address}/notify", json={"event": "a", "payload": {}}, headers=headers, timeout=10)
        assert answer.status_code == 401
        with grpc.insecure_channel(to_grpc.address) as channel, pytest.raises(grpc.RpcError) as refused:
            request = pb.PublishRequest(event="a", payload_json=b"{}")
            rpc.NotificationServiceStub(channel).Publish(request, metadata=metadata("wrong", **made_up), timeout=10)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
    until("both refusals are logged", lambda: len(refused_addresses(service)) == 2)
    assert refused_addresses(service) == [CLIENT, CLIENT]
