"""The snippet that publishes from an application of FastAPI: while the service is away, the application goes on."""

import json
import sys
from collections import Counter
from contextlib import contextmanager

from conftest import WORK
from page import CLIENTS, settings, snippet, start

PLACES, SENDERS = 1000, 8  # as the snippet has them


@contextmanager
def feedback(*ids, **where):
    """Runs the application and posts these; yields the program."""
    (WORK / "python/rest/main.py").write_text(snippet("python-fastapi"))
    program = start([sys.executable, CLIENTS / "python/feedback.py", WORK / "python/rest", *ids], **settings(**where))
    try:
        yield program
    finally:
        program.kill()
        program.wait()


def test_an_application_publishes(subscribe, run_id):
    subscriber = subscribe()
    with feedback(run_id) as program:
        assert json.loads(program.stdout.readline()) == [[201], []]
        frame = subscriber.next("system_notification")
        assert (frame["event"], frame["payload"]) == ("feedback.creado", {"id": run_id})
        output, _ = program.communicate()
        assert (program.returncode, json.loads(output)) == (0, [])


def test_all_are_answered_before_the_first_call_gives_up(closed_port):
    beyond = 100
    ids = [str(n) for n in range(PLACES + beyond)]
    with feedback(*ids, url=f"http://127.0.0.1:{closed_port}") as program:
        statuses, logged = json.loads(program.stdout.readline())
        assert statuses == [201] * len(ids)
        full = "notification feedback.creado not sent: too many wait"
        assert Counter(logged) == {full: beyond}
        program.stdin.close()
        ended = "notification feedback.creado not sent: the application ends"
        assert Counter(json.loads(program.stdout.readline())) == {full: beyond, ended: PLACES - SENDERS}
