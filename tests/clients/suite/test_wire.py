"""What the page promises about bytes and order, with the ordinary Python clients."""

import grpc
import pytest
from exposia.notifications.v1 import notifications_pb2 as pb
from exposia.notifications.v1 import notifications_pb2_grpc as rpc
from google.protobuf import struct_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "exposia.notifications.v1.NotificationService"
PAYLOADS = [
    "{}",
    '{ "z" : 1 , "a" : 2 }',
    '{"n":123456789012345678901234567890,"f":1.50,"e":1e2,"m":-0.0}',
    '{"b":null,"a":[true,false,null,[],{}]}',
    r'{"ñ":"\u00e1 á 😀 \ud83d\ude00 \/ \" \n"}',
    '{"a":1,"a":2}',
]
REFUSED = ['{"n":NaN}', '{"n":Infinity}', '{"n":-Infinity}', r'{"s":"\ud800"}', '{"n":1e999}', "{", ""]


@pytest.fixture
def stub(channel):
    return rpc.NotificationServiceStub(channel)


def body(payload, run_id):
    return f'{{"event": "test.bytes", "payload": {payload}, "target": {{"users": ["{run_id}"]}}}}'.encode()


@pytest.mark.parametrize("payload", PAYLOADS)
def test_the_payload_is_passed_on_as_it_was_written(payload, subscribe, notify, stub, metadata, run_id):
    subscriber = subscribe(user_id=run_id)
    assert notify(body(payload, run_id)).status_code == 200
    assert subscriber.next("system_notification").raw["payload"] == payload
    request = pb.PublishRequest(event="test.bytes", payload_json=payload.encode(), target=pb.Target(users=[run_id]))
    stub.Publish(request, metadata=metadata, timeout=10)
    assert subscriber.next("system_notification").raw["payload"] == payload


@pytest.mark.parametrize("payload", REFUSED)
def test_what_json_cannot_hold_is_refused(payload, notify, stub, metadata, run_id):
    response = notify(body(payload, run_id))
    assert response.status_code == 400 and isinstance(response.json()["detail"], str), response.text
    if payload:
        with pytest.raises(grpc.RpcError) as refused:
            stub.Publish(pb.PublishRequest(event="test.bytes", payload_json=payload.encode()), metadata=metadata, timeout=10)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_struct_is_the_same_notification(subscribe, stub, metadata, run_id):
    subscriber = subscribe(user_id=run_id)
    payload = struct_pb2.Struct()
    payload.update({"entero": 123, "nota": 18.5, "nada": None, "lista": [1, "dos", True], "objeto": {"ñ": "á"}})
    stub.Publish(pb.PublishRequest(event="test.bytes", payload=payload, target=pb.Target(users=[run_id])), metadata=metadata)
    frame = subscriber.next("system_notification")
    assert frame["payload"] == {"entero": 123, "nota": 18.5, "nada": None, "lista": [1, "dos", True], "objeto": {"ñ": "á"}}
    assert '"entero":123,' in frame.text.replace("}", ",")


def test_all_of_one_publisher_comes_in_its_order_however_it_is_sent(subscribe, notify, stub, metadata, run_id):
    subscriber = subscribe(user_id=run_id)
    target = {"users": [run_id]}
    for n in range(50):
        if n % 2:
            notify({"event": "test.order", "payload": {"n": n}, "target": target})
        else:
            payload = f'{{"n": {n}}}'.encode()
            stub.Publish(pb.PublishRequest(event="test.order", payload_json=payload, target=pb.Target(**target)), metadata=metadata)
    assert [subscriber.next("system_notification")["payload"]["n"] for _ in range(50)] == list(range(50))


def test_what_was_missed_is_replayed_once(subscribe, notify, run_id):
    first = subscribe(user_id=run_id)
    event = {"event": "test.resume", "payload": {}, "target": {"users": [run_id]}}
    seen = notify(event).json()["sequence"]
    assert first.next("system_notification")["seq"] == seen
    first.socket.close()
    missed = [notify(event).json()["sequence"] for _ in range(5)]
    back = subscribe(user_id=run_id, client_id=first.client_id, since=seen, epoch=first.welcome["epoch"])
    assert (back.welcome["recovered"], back.welcome["replayed"]) == (True, 5)
    missed.append(notify(event).json()["sequence"])
    assert [back.next("system_notification")["seq"] for _ in missed] == missed
    lost = subscribe(user_id=run_id, since=seen, epoch="another")
    assert lost.welcome["recovered"] is False


@pytest.mark.parametrize("said", ['"¡Hola!"', '""', "7", "1.50", "null", '[1, {"b": null, "a": "ñ"}]', '{"z": 1, "a": 2}'])
def test_chat_is_passed_on_whatever_it_says(said, subscribe, run_id):
    listener, speaker = subscribe(room=run_id), subscribe(room=run_id)
    speaker.socket.send(f'{{"type": "chat_message", "message": {said}}}')
    frame = listener.next("chat_message")
    assert list(frame.raw) == ["type", "client_id", "message", "room", "timestamp"]
    assert (frame.raw["message"], frame["client_id"], frame["room"]) == (said, speaker.client_id, run_id)


def test_what_a_client_leaves_out_has_its_default(subscribe, run_id):
    listener, speaker = subscribe(room=run_id), subscribe(room=run_id)
    speaker.send({"type": "chat_message"})
    assert listener.next("chat_message")["message"] == ""
    speaker.send({"type": "join_room"})
    assert speaker.next()["message"] == "Te uniste a la sala general"


def test_without_the_token_nothing_is_published(stub):
    for metadata in ([], [("authorization", "Bearer wrong")]):
        with pytest.raises(grpc.RpcError) as refused:
            stub.Publish(pb.PublishRequest(event="test.token"), metadata=metadata, timeout=10)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_message_that_is_too_large_is_refused(notify, stub, metadata):
    payload = '{"x":"' + "x" * (2 << 20) + '"}'
    assert notify(f'{{"event": "test.large", "payload": {payload}}}').status_code == 413
    with pytest.raises(grpc.RpcError) as refused:
        stub.Publish(pb.PublishRequest(event="test.large", payload_json=payload.encode()), metadata=metadata, timeout=10)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_health_and_reflection_are_on(channel):
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", SERVICE):
        answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    assert SERVICE in ProtoReflectionDescriptorDatabase(channel).get_services()
