"""What the server refuses over gRPC is read through HAProxy, which makes a cancelled call of a stream that the server resets.

Not every client shows that: grpcio believes the reset and not the status before it.
"""

import json
import os

import grpc
import pytest
from exposia.notifications.v1 import notifications_pb2 as pb
from exposia.notifications.v1 import notifications_pb2_grpc as rpc

TIMES = 40
KIB = 1024
SIZES = (1 * KIB, 17 * KIB, 200 * KIB, 900 * KIB)


@pytest.fixture
def stub():
    with grpc.insecure_channel(os.environ["GRPC_ADDR"]) as channel:
        yield rpc.NotificationServiceStub(channel)


def unary(stub, request, metadata):
    stub.Publish(request, metadata=metadata, timeout=30)


def stream(stub, request, metadata):
    list(stub.PublishStream(iter([request] * 8), metadata=metadata, timeout=30))


@pytest.mark.parametrize("publish", [unary, stream])
def test_a_refusal_is_read(publish, stub):
    statuses = []
    for number in range(TIMES):
        payload = json.dumps({"filler": "x" * SIZES[number % len(SIZES)]}).encode()
        with pytest.raises(grpc.RpcError) as refused:
            publish(stub, pb.PublishRequest(event="test.haproxy", payload_json=payload), [("authorization", "Bearer wrong")])
        statuses.append(refused.value.code().name)
    assert statuses == ["UNAUTHENTICATED"] * TIMES
