"""Publishes over gRPC and TLS, one after the other: a line of JSON for each answer.

    grpc_client.py ADDRESS TOKEN SIZE...
"""

import json
import os
import sys
from pathlib import Path

import grpc
from exposia.notifications.v1 import notifications_pb2 as pb
from exposia.notifications.v1 import notifications_pb2_grpc as rpc

_, address, token, *sizes = sys.argv
credentials = grpc.ssl_channel_credentials(Path(os.environ["CA_FILE"]).read_bytes())
with grpc.secure_channel(address, credentials) as channel:
    stub = rpc.NotificationServiceStub(channel)
    for size in map(int, sizes):
        request = pb.PublishRequest(event="test.tls", payload_json=json.dumps({"filler": "x" * size}).encode())
        try:
            stub.Publish(request, metadata=[("authorization", f"Bearer {token}")], timeout=30)
            print(json.dumps({"status": "OK", "body": ""}))
        except grpc.RpcError as error:
            print(json.dumps({"status": error.code().name, "body": error.details()}))
