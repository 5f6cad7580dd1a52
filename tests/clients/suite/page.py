"""The snippets of README.md, and which of them were run."""

import os
import subprocess
import sys
from pathlib import Path

from conftest import BASE_URL, GRPC_ADDR, TOKEN, WORK

CLIENTS = Path(__file__).parent.parent
RAN = set()


def java(program: str) -> list[str]:
    """The command that runs a Java program of the suite."""
    return ["java", "-cp", os.environ["JAVA_CLASSPATH"], f"com.exposia.calificaciones.{program}"]


# The snippets that publish, and the program that runs each.
PUBLISHERS = {
    "php-rest": ["php", CLIENTS / "php/publish.php", "rest", WORK / "snippets", WORK / "php"],
    "php-grpc": ["php", CLIENTS / "php/publish.php", "grpc", WORK / "snippets", WORK / "php"],
    "typescript-rest": ["node", "dist/publish.js", "rest"],
    "typescript-grpc": ["node", "dist/publish.js", "grpc"],
    "java-rest": [*java("Publish"), "rest"],
    "java-grpc": [*java("Publish"), "grpc"],
    "python-rest": [sys.executable, CLIENTS / "python/publish.py", WORK / "python/rest"],
    "python-grpc": [sys.executable, CLIENTS / "python/publish.py", WORK / "python/grpc"],
}


def mark_run(name: str) -> None:
    """Notes that a snippet, and the configuration that goes with it, is about to be run."""
    RAN.update({name} | ({"php-config"} if name.startswith("php") else set()))


def snippet(name: str) -> str:
    """The text of a snippet that is about to be run."""
    mark_run(name)
    return (WORK / "snippets" / name).read_text()


def here(text: str) -> str:
    """The text with the address and the token of the server under test in the place of the page's."""
    text = text.replace("ws://localhost:9000", BASE_URL.replace("http", "ws", 1))
    return text.replace("http://localhost:9000", BASE_URL).replace("Bearer dev", f"Bearer {TOKEN}")


def settings(url: str = BASE_URL, grpc: str = GRPC_ADDR, token: str = TOKEN) -> dict[str, str]:
    """The environment that the snippets read."""
    return {"WS_NOTIFICATION_URL": url, "WS_NOTIFICATION_GRPC": grpc, "WS_NOTIFICATION_TOKEN": token}


def start(command: list, **environment: str) -> subprocess.Popen:
    """Starts a program that runs a snippet."""
    path = os.pathsep.join([str(WORK / "python/generated"), str(WORK / "python/token"), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [str(part) for part in command],
        cwd=WORK / "node",
        env={**os.environ, "PYTHONPATH": path, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
