"""The snippets that make a subscriber's token: what it opens, and what it does not."""

import sys

import pytest
import requests
from websockets.exceptions import InvalidStatus

from conftest import TOKEN, WORK
from page import CLIENTS, java, snippet, start
from service import Service
from subscriber import Subscriber

SECRET = "a secret that only these tests know"

# The snippets, and what prints the token that each makes for a user and some rooms.
MAKERS = {
    "php-token": ["php", CLIENTS / "php/token.php", WORK / "snippets"],
    "typescript-token": [
        "node",
        "--input-type=module",
        "--eval",
        "import { subscriberToken } from './dist/token.js';"
        "const [user, ...rooms] = process.argv.slice(1); console.log(subscriberToken(user, rooms));",
    ],
    "java-token": java("Token"),
    "python-token": [
        sys.executable,
        "-c",
        "import sys; from tokens import subscriber_token; print(subscriber_token(sys.argv[1], sys.argv[2:]))",
    ],
}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    settings = {"JWT_SECRET": SECRET, "JWT_ISSUER": "exposia", "JWT_AUDIENCE": "notifications", "JOURNAL": "memory"}
    with Service(tmp_path_factory.mktemp("tokens"), **settings) as service:
        yield service


@pytest.fixture(params=MAKERS)
def make(request):
    """Makes a token with a snippet."""
    snippet(request.param)

    def token(user, *rooms):
        program = start([*MAKERS[request.param], user, *rooms], WS_NOTIFICATION_JWT_SECRET=SECRET)
        output, _ = program.communicate(timeout=30)
        assert program.returncode == 0, request.param
        return output.strip()

    return token


def publish(service, event, payload):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    answer = requests.post(f"{service.url}/notify", json={"event": event, "payload": payload}, headers=headers, timeout=10)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def test_a_token_hears_its_rooms_and_its_user_and_nothing_else(make, service):
    token = make("456", "tema_1", "aula_*")
    with Subscriber(service.url, token=token, room="tema_1", rooms="aula_7") as subscriber:
        assert subscriber.welcome["user_id"] == "456"
        publish(service, "user.evaluado", {"usuarioId": 7})
        publish(service, "metrica.creada", {"temaId": 2})
        heard = [publish(service, "metrica.creada", {"temaId": 1}), publish(service, "user.evaluado", {"usuarioId": 456})]
        assert [subscriber.next("system_notification")["id"] for _ in heard] == heard
        subscriber.send({"type": "join_room", "room": "tema_2"})
        assert subscriber.next()["type"] == "error"
    for refused in ({"room": "tema_2"}, {"room": "tema_1", "user_id": "7"}, {}):
        with pytest.raises(InvalidStatus) as refusal:
            Subscriber(service.url, token=token, **refused)
        assert refusal.value.response.status_code == 403, refused


def test_a_token_publishes_nothing(make, service):
    headers = {"Authorization": f"Bearer {make('456', 'tema_1')}"}
    answer = requests.post(f"{service.url}/notify", json={"event": "e", "payload": {}}, headers=headers, timeout=10)
    assert answer.status_code == 403, answer.text


def test_a_token_without_rooms_hears_what_is_its_own(make, service):
    with Subscriber(service.url, token=make("456"), room="user_456") as subscriber:
        heard = publish(service, "user.evaluado", {"usuarioId": 456})
        assert subscriber.next("system_notification")["id"] == heard
