"""What the server refuses is read by each client over TLS, however much the client still has to send."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CLIENTS = Path(__file__).parent.parent
WORK = Path(os.environ["WORK"])
TIMES = 40
KIB = 1024

URL = os.environ["BASE_URL"] + "/notify"
GRPC_ADDR = os.environ["GRPC_ADDR"]
# Those of a server that goes away.
DRAINING_URL = os.environ["DRAINING_URL"] + "/notify"
DRAINING_GRPC_ADDR = os.environ["DRAINING_GRPC_ADDR"]

TOKEN = os.environ["TOKEN"]
UNFIT_TOKEN = os.environ["UNFIT_TOKEN"]  # for other events
IDLE_TOKEN = os.environ["IDLE_TOKEN"]  # for none
LIMITED_TOKEN = os.environ["LIMITED_TOKEN"]  # for one an hour

JAVA = ["java", f"-Djava.library.path={os.environ['JAVA_LIBRARY_PATH']}", "-cp", os.environ["JAVA_CLASSPATH"]]
HERE = Path(__file__).parent

# The programs that post, with the version of HTTP or the client in them.
HTTP = {
    "curl-http1": [sys.executable, HERE / "curl_client.py", "1.1"],
    "curl-http2": [sys.executable, HERE / "curl_client.py", "2"],
    "python-requests": [sys.executable, HERE / "requests_client.py", "1.1"],
    "php-http1": ["php", CLIENTS / "php/tls.php", "1.1"],
    "php-http2": ["php", CLIENTS / "php/tls.php", "2"],
    "java-http1": [*JAVA, "com.exposia.calificaciones.Tls", "1.1"],
    "java-http2": [*JAVA, "com.exposia.calificaciones.Tls", "2"],
    "node-fetch": ["node", "tls.mjs", "fetch"],
    "node-https": ["node", "tls.mjs", "https"],
    "node-http2": ["node", "tls.mjs", "http2"],
}
GRPC = {
    "python-grpc": [sys.executable, HERE / "grpc_client.py"],
    "java-grpc": [*JAVA, "com.exposia.calificaciones.TlsGrpc"],
    "node-grpc": ["node", "tls-grpc.mjs"],
}


def answers(program, address, token, sizes):
    """What a program reads when it sends messages of these sizes."""
    command = [str(part) for part in [*program, address, token, *sizes]]
    environment = {**os.environ, "NODE_EXTRA_CA_CERTS": os.environ["CA_FILE"]}
    ran = subprocess.run(command, cwd=WORK / "node", env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(lines) == len(sizes), ran.stdout + ran.stderr
    return lines


def sizes(*some):
    """As many sizes as there are to be requests, of some."""
    return [some[number % len(some)] for number in range(TIMES)]


SMALL_AND_LARGE = sizes(100, 17 * KIB, 70 * KIB, 200 * KIB, 1000 * KIB)
TOO_LARGE = sizes(1100 * KIB, 2000 * KIB, 5000 * KIB)


def statuses(lines):
    """The statuses; of an answer that did not come, or is no refusal as it should be, all of it."""

    def status(line):
        detail = json.loads(line["body"]).get("detail") if line.get("status", 200) != 200 else "accepted"
        return line["status"] if "status" in line and isinstance(detail, str) and detail else line

    return [status(line) for line in lines]


@pytest.mark.parametrize("client", HTTP)
def test_what_is_published_is_accepted(client):
    assert statuses(answers(HTTP[client], URL, TOKEN, SMALL_AND_LARGE)) == [200] * TIMES


@pytest.mark.parametrize(
    ("token", "messages", "status"),
    [
        ("wrong", SMALL_AND_LARGE, 401),
        (IDLE_TOKEN, SMALL_AND_LARGE, 403),
        (UNFIT_TOKEN, SMALL_AND_LARGE, 403),
        (TOKEN, TOO_LARGE, 413),
        (LIMITED_TOKEN, SMALL_AND_LARGE, 429),
    ],
    ids=["401", "403-of-all", "403-of-some", "413", "429"],
)
@pytest.mark.parametrize("client", HTTP)
def test_a_refusal_is_read(client, token, messages, status):
    if status == 429:
        answers(HTTP["curl-http1"], URL, token, [100])  # the one an hour, if it is still to come
    assert statuses(answers(HTTP[client], URL, token, messages)) == [status] * TIMES


@pytest.mark.parametrize("client", HTTP)
def test_a_server_that_drains_is_read(client):
    assert statuses(answers(HTTP[client], DRAINING_URL, TOKEN, SMALL_AND_LARGE)) == [503] * TIMES


@pytest.mark.parametrize("client", GRPC)
def test_a_refusal_over_grpc_is_read(client):
    answers(GRPC["python-grpc"], GRPC_ADDR, LIMITED_TOKEN, [100])
    for address, token, messages, status in [
        (GRPC_ADDR, TOKEN, SMALL_AND_LARGE, "OK"),
        (GRPC_ADDR, "wrong", SMALL_AND_LARGE, "UNAUTHENTICATED"),
        (GRPC_ADDR, IDLE_TOKEN, SMALL_AND_LARGE, "PERMISSION_DENIED"),
        (GRPC_ADDR, UNFIT_TOKEN, SMALL_AND_LARGE, "PERMISSION_DENIED"),
        (GRPC_ADDR, LIMITED_TOKEN, SMALL_AND_LARGE, "RESOURCE_EXHAUSTED"),
        (GRPC_ADDR, TOKEN, TOO_LARGE, "RESOURCE_EXHAUSTED"),
        (DRAINING_GRPC_ADDR, TOKEN, SMALL_AND_LARGE, "UNAVAILABLE"),
    ]:
        lines = answers(GRPC[client], address, token, messages)
        assert [line["status"] for line in lines] == [status] * TIMES, lines
