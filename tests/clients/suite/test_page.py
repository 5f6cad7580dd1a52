"""The other snippets of the page, and that none was left out."""

import json
import re
import subprocess
import sys
import tomllib
from urllib.parse import urljoin

import pytest
import requests

from conftest import BASE_URL, WORK
from page import CLIENTS, RAN, here, settings, snippet, start

ROOT = CLIENTS.parent.parent


def shell(name):
    return json.loads(subprocess.run(["sh", "-euc", here(snippet(name))], check=True, capture_output=True, text=True).stdout)


def test_shell_notify(subscribe):
    subscriber = subscribe()
    answer = shell("shell-notify")
    page = (ROOT / "README.md").read_text()
    shown = json.loads(re.search(r'^\{"success".*$', page, re.MULTILINE)[0])
    assert answer.keys() == shown.keys()
    frame = subscriber.next("system_notification")
    assert frame.raw["payload"] == '{"id": 123, "titulo": "Mi Presentación", "usuarioId": 456}'
    assert (frame["id"], frame["seq"]) == (answer["id"], answer["sequence"])


def test_shell_explain(subscribe):
    subscriber = subscribe(user_id="456")
    answer = shell("shell-explain")
    assert answer["rule"] == "user-by-segment"
    assert answer["audience"] == {"users": ["456"], "rooms": [], "everyone": False}
    assert subscriber.client_id in answer["client_ids"] and answer["receivers"] >= 1


def test_python_grpc_stream(subscribe, run_id):
    subscriber = subscribe(user_id=run_id)
    program = snippet("python-grpc-stream") + (
        f"\nevents = [('user.{run_id}.n', {{'n': n}}) for n in range(500)]"
        "\nevents[250] = ('', {})"
        "\nprint(publish_all(events))"
    )
    output, _ = start([sys.executable, "-c", program], **settings()).communicate()
    rejected, sequences = output.splitlines()
    assert rejected.startswith("event 250: ")
    sequences = json.loads(sequences)
    assert len(sequences) == 500 and sequences.pop(250) == 0
    frames = [subscriber.next("system_notification") for _ in sequences]
    assert [frame["seq"] for frame in frames] == sequences == sorted(sequences)
    assert [frame["payload"]["n"] for frame in frames] == [n for n in range(500) if n != 250]


@pytest.fixture
def follow():
    """Runs a program and gives its output line by line."""
    programs = []

    def lines(command, **environment):
        programs.append(start(command, **environment))
        return map(str.rstrip, programs[-1].stdout)

    yield lines
    for program in programs:
        program.kill()
        program.wait()


def test_python_grpc_subscribe(follow, notify):
    lines = follow([sys.executable, "-c", snippet("python-grpc-subscribe")], **settings())
    assert next(lines).startswith("live after ")
    notify({"event": "metrica.creada", "payload": {"temaId": 2}})  # for another room
    answer = notify({"event": "metrica.creada", "payload": {"temaId": 1}}).json()
    assert next(lines) == f"{answer['sequence']} metrica.creada {{'temaId': 1}}"


def test_javascript_websocket(follow, notify, subscribe):
    (WORK / "node/websocket.mjs").write_text(here(snippet("javascript-websocket")))
    lines = follow(["node", "browser.mjs", "websocket.mjs"])
    assert next(lines) == "Conectado exitosamente como client-123"
    assert next(lines) == "Te uniste a la sala tema_1"
    notify({"event": "metrica.creada", "payload": {"temaId": 1}})
    assert next(lines) == "Notificación: metrica.creada { temaId: 1 }"
    other = subscribe(client_id="otro", room="tema_1")
    assert next(lines) == "Usuario otro se unió a la sala"
    other.send({"type": "chat_message", "message": "Hola a todos!"})
    assert next(lines) == "otro: Hola a todos!"
    subscribe(client_id="client-123")
    assert next(lines) == "closed 4001"


def fetch_modules(url, folder):
    """Fetches a module and what it imports, as a browser does."""
    name = url.rsplit("/", 1)[1]
    response = requests.get(url, timeout=10)
    response.raise_for_status()
    assert "javascript" in response.headers["content-type"], name
    (folder / name).write_text(response.text)
    for imported in re.findall(r"""from ['"](\./[^'"]+)['"]""", response.text):
        fetch_modules(urljoin(url, imported), folder)


def test_javascript_client(follow, notify):
    fetch_modules(f"{BASE_URL}/console/client.js", WORK / "node")
    code = snippet("javascript-client").replace("http://localhost:9000/console/client.js", "./client.js")
    (WORK / "node/client-snippet.mjs").write_text(here(code))
    lines = follow(["node", "browser.mjs", "client-snippet.mjs"])
    assert next(lines).startswith("Conectado exitosamente como ")
    notify({"event": "metrica.creada", "payload": {"temaId": 1}})
    assert next(lines) == "metrica.creada { temaId: 1 }"
    notify({"event": "user.evaluado", "payload": {"usuarioId": 456}})
    assert next(lines) == "user.evaluado { usuarioId: 456 }"


def test_routes_are_the_built_in_ones():
    shown = tomllib.loads(snippet("routes"))
    assert tomllib.loads((ROOT / "examples/routes.toml").read_text()) == shown
    assert tomllib.loads((ROOT / "src/broker/default_routes.toml").read_text()) == shown


def test_the_table_of_settings_is_the_example_file():
    row = re.compile(r"^\| `([A-Z_]+)` \| (?:`(.*?)`|–) \| (.+) \|$", re.MULTILINE)
    line = re.compile(r"^# (.+)\n#([A-Z_]+)=(.*)$", re.MULTILINE)
    plain = lambda text: re.sub(r"\[(.+?)\]\(.+?\)", r"\1", text).replace("`", "")
    table = {name: (default, plain(text)) for name, default, text in row.findall((ROOT / "README.md").read_text())}
    file = {name: (default, text) for text, name, default in line.findall((ROOT / ".env.example").read_text())}
    without_default = {name for name, (default, _) in table.items() if not default}
    assert without_default <= {
        "ALLOWED_ORIGINS",
        "GRPC_MAX_AGE",
        "HSTS_MAX_AGE",
        "IDEMPOTENCY_MAX_KEYS",
        "JWT_AUDIENCE",
        "JWT_ISSUER",
        "JWT_JWKS_CA_FILE",
        "JWT_JWKS_URL",
        "JWT_PUBLIC_KEY_FILE",
        "JWT_SECRET",
        "MAX_CONNECTIONS_PER_ADDRESS",
        "MTLS_CA_FILE",
        "MTLS_CRL_FILE",
        "MTLS_GRANTS",
        "ROUTES",
        "SUBSCRIBER_AUTH",
        "TLS_CERT_FILE",
        "TLS_KEY_FILE",
        "TRUSTED_PROXIES",
    }
    for name in without_default:
        file[name] = ("", file[name][1])
    assert file == table


def test_openapi_is_served_as_it_is_here():
    response = requests.get(f"{BASE_URL}/openapi.json", timeout=10)
    assert response.json() == json.loads((ROOT / "openapi.json").read_text())


@pytest.mark.last
def test_every_snippet_was_run():
    assert {file.name for file in (WORK / "snippets").iterdir()} == RAN
