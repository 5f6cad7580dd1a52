"""Every publishing snippet: what subscribers receive, and what the caller is told."""

import json
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import requests

from conftest import BASE_URL, GRPC_ADDR, TOKEN
from page import PUBLISHERS, mark_run, settings, start
from relay import CUT, LOST, grpc_relay, http_relay
from service import Service

SOURCES = {
    "php": "presentaciones-php",
    "typescript": "practicas-ts",
    "java": "calificaciones-java",
    "python": "feedback-ia-python",
}


@pytest.fixture(params=PUBLISHERS)
def name(request):
    return request.param


def publish(name, calls, **where):
    """Publishes with a snippet: for each call the text of the payload, and the answer or None."""
    mark_run(name)
    program = start(PUBLISHERS[name], **settings(**where))
    output, _ = program.communicate("".join(json.dumps(call) + "\n" for call in calls), timeout=100)
    assert program.returncode == 0, f"{name} ended with {program.returncode}"
    lines = [json.loads(line) for line in output.splitlines() if line.startswith('{"payload"')]
    assert len(lines) == len(calls), output
    return [(line["payload"], line["answer"]) for line in lines]


def call(event, payload, key):
    return {"event": event, "payload": payload, "key": key}


@pytest.fixture
def end(notify):
    """Publishes to everyone, to mark the end of what a test published."""
    return lambda: notify({"event": "test.end", "payload": {}, "target": {"everyone": True}}).json()["id"]


def test_subscribers_receive_what_was_published_byte_for_byte_and_in_order(name, subscribe, end, run_id):
    content = {
        "id": 123,
        "titulo": 'Mi "Presentación" / ñ € 😀 \\ \n',
        "usuarioId": 456,
        "nota": 18.5,
        "entero": 9007199254740991,
        "nada": None,
        "z": {"b": [1, {"c": True}, []], "a": {}},
    }
    calls = [
        call("presentacion.creada", content, f"{run_id}-1"),
        call("user.evaluado", {"usuarioId": run_id}, f"{run_id}-2"),
        call(f"user.{run_id}.evaluado", {"nota": 18.5}, f"{run_id}-3"),
        call("metrica.creada", {"temaId": run_id}, f"{run_id}-4"),
        call("presentacion.eliminada", {}, f"{run_id}-5"),
    ]
    member = subscribe(user_id=run_id, room="general", rooms=f"tema_{run_id}")
    outsider = subscribe(user_id=f"not-{run_id}", room=f"room-{run_id}")

    published = publish(name, calls)
    last = end()

    received = member.notifications_until(last)
    assert [frame.raw["payload"] for frame in received] == [payload for payload, _ in published]
    assert [frame["event"] for frame in received] == [call["event"] for call in calls]
    assert {frame["source"] for frame in received} == {SOURCES[name.split("-")[0]]}
    answers = [answer for _, answer in published]
    assert [(frame["id"], frame["seq"]) for frame in received] == [(a["id"], int(a["sequence"])) for a in answers]
    assert not any(answer["duplicate"] for answer in answers)
    assert answers[0]["receivers"] >= 2 and [answer["receivers"] for answer in answers[1:4]] == [1, 1, 1]
    assert [frame["id"] for frame in outsider.notifications_until(last)] == [answers[0]["id"]]


def test_a_key_delivers_once(name, subscribe, end, run_id):
    subscriber = subscribe()
    first, again, other = [
        answer
        for _, answer in publish(
            name,
            [
                call("presentacion.creada", {"id": 1}, run_id),
                call("presentacion.creada", {"id": 1}, run_id),
                call("presentacion.creada", {"id": 2}, run_id),
            ],
        )
    ]
    assert [frame["id"] for frame in subscriber.notifications_until(end())] == [first["id"]]
    assert (again["id"], again["sequence"], again["duplicate"]) == (first["id"], first["sequence"], True)
    assert other is None


def test_a_refused_event_is_not_published_and_does_not_stop_the_caller(name, subscribe, end, run_id):
    subscriber = subscribe()
    refused = publish(name, [call("", {}, f"{run_id}-1"), call("x" * 257, {}, f"{run_id}-2")])
    denied = publish(name, [call("presentacion.creada", {"id": 1}, f"{run_id}-3")], token="wrong")
    assert [answer for _, answer in refused + denied] == [None, None, None]
    assert subscriber.notifications_until(end()) == []


def publish_through_relay(name, event, statuses, codes):
    """Publishes through a relay that fails so first: the answer, and what the relay saw."""
    if name.endswith("grpc"):
        relay, where = grpc_relay(GRPC_ADDR, *codes), "grpc"
    else:
        relay, where = http_relay(BASE_URL, *statuses), "url"
    with relay as (address, seen):
        [(_, answer)] = publish(name, [event], **{where: address})
    return answer, seen


def test_a_lost_answer_is_asked_for_again_and_delivers_once(name, subscribe, end, run_id):
    subscriber = subscribe()
    answer, seen = publish_through_relay(name, call("presentacion.creada", {"id": 1}, run_id), [LOST, CUT], [LOST, LOST])
    assert len(seen) == 3 and len(set(seen)) == 1
    assert answer["duplicate"] is True
    assert [frame["id"] for frame in subscriber.notifications_until(end())] == [answer["id"]]


def test_what_may_pass_is_tried_again_under_the_same_key(name, run_id):
    statuses = [408, (429, 1), 502, (503, 1), 504]
    codes = [getattr(grpc.StatusCode, code) for code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "INTERNAL")]
    answer, seen = publish_through_relay(name, call("presentacion.creada", {"id": 1}, run_id), statuses, codes)
    assert answer["duplicate"] is False
    assert len(seen) == 1 + len(codes if name.endswith("grpc") else statuses) and len(set(seen)) == 1


# What cannot succeed is published twice: who tried it again for 40 s each time would not be done before the deadline.
def test_a_payload_that_is_no_json_is_not_sent_and_does_not_stop_the_caller(name, run_id):
    calls = [{"event": "presentacion.creada", "key": f"{run_id}-{n}"} for n in range(2)]
    answers = [answer for _, answer in publish(name, [*calls, call("presentacion.creada", {"id": 1}, run_id)])]
    assert answers[:2] == [None, None]
    assert answers[2]["duplicate"] is False


@pytest.mark.parametrize("name", [name for name in PUBLISHERS if name.startswith("python")])
def test_what_is_not_a_number_is_not_sent_and_does_not_stop_the_caller(name, run_id):
    answers = publish(name, [call("feedback.creado", {"nota": float("nan")}, f"{run_id}-{n}") for n in range(2)])
    assert [answer for _, answer in answers] == [None, None]


REST = [name for name in PUBLISHERS if name.endswith("rest")]
# cURL, and so PHP, takes an address without a scheme for one of HTTP.
NO_ADDRESSES = [(name, "ws://") for name in REST] + [(name, "") for name in REST if name != "php-rest"]


@pytest.mark.parametrize("name, scheme", NO_ADDRESSES)
def test_an_address_that_is_none_is_not_tried_again(name, scheme, run_id):
    url = BASE_URL.replace("http://", scheme, 1)
    answers = publish(name, [call("presentacion.creada", {"id": n}, f"{run_id}-{n}") for n in range(2)], url=url)
    assert [answer for _, answer in answers] == [None, None]


@pytest.mark.parametrize("name", REST)
def test_who_would_have_to_wait_for_too_long_gives_up(name, run_id):
    answer, seen = publish_through_relay(name, call("presentacion.creada", {"id": 1}, run_id), [(429, 3600)], [])
    assert answer is None and len(seen) == 1


@pytest.mark.parametrize("name", REST)
def test_a_proxy_that_asks_for_less_than_no_time_does_not_stop_the_caller(name, run_id):
    answer, seen = publish_through_relay(name, call("presentacion.creada", {"id": 1}, run_id), [(429, -5)], [])
    assert answer["duplicate"] is False and len(seen) == 2


def test_what_is_too_large_is_not_tried_again(name, run_id):
    answer, seen = publish_through_relay(name, call("presentacion.creada", {"x": "x" * (2 << 20)}, run_id), [], [])
    assert answer is None and len(seen) == 1


def test_a_publisher_above_its_rate_waits_for_its_turn(name, run_id, limited):
    answers = publish(name, [call("presentacion.creada", {"id": n}, f"{run_id}-{n}") for n in range(3)], url=limited.url, grpc=limited.grpc)
    assert [answer["duplicate"] for _, answer in answers] == [False] * 3


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    """A service that takes one publish a second."""
    with Service(tmp_path_factory.mktemp("limited"), PUBLISH_RATE="1/s", JOURNAL="memory") as service:
        yield service


@pytest.mark.deadline(120)
def test_a_server_that_is_not_there_does_not_stop_the_caller(run_id, closed_port):
    where = {"url": f"http://127.0.0.1:{closed_port}", "grpc": f"127.0.0.1:{closed_port}"}
    one = lambda name: publish(name, [call("presentacion.creada", {"id": 1}, f"{run_id}-{name}")], **where)
    with ThreadPoolExecutor(len(PUBLISHERS)) as pool:  # all at the same time, since each tries again for a while
        answers = {name: pool.submit(one, name) for name in PUBLISHERS}
        assert {name: [answer for _, answer in published.result()] for name, published in answers.items()} == {
            name: [None] for name in PUBLISHERS
        }


@pytest.mark.parametrize(
    "credentials",
    [
        {"headers": {"Authorization": "Bearer {token}"}},  # what Laravel's Http::withToken sends
        {"headers": {"X-Token": "{token}"}},
        {"params": {"token": "{token}"}},
    ],
    ids=["bearer", "x-token", "query"],
)
def test_the_token_comes_in_three_ways(credentials):
    for token, status in ((TOKEN, 200), ("wrong", 401), ("", 401)):
        filled = {kind: {name: value.format(token=token) for name, value in pair.items()} for kind, pair in credentials.items()}
        response = requests.post(f"{BASE_URL}/notify", json={"event": "test.token", "payload": {}}, timeout=10, **filled)
        assert response.status_code == status, response.text
