"""Posts to the FastAPI application of a snippet, all at once, as an ASGI server does.

    python feedback.py FOLDER-OF-THE-APPLICATION ID...

When all are answered it prints [statuses, what was logged until then]. When its standard input ends it ends the
application, and prints what was logged until then.
"""

import asyncio
import json
import logging
import sys

sys.path.insert(0, sys.argv[1])
from main import app  # noqa: E402

LOGGED = []


class Log(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        LOGGED.append(record.getMessage())


async def post(body: dict, running: set[asyncio.Task]) -> int:
    """The status, as soon as it is sent: what the application does after that goes on among `running`."""
    status = asyncio.get_running_loop().create_future()

    async def receive():
        return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

    async def send(message):
        if message["type"] == "http.response.start":
            status.set_result(message["status"])

    scope = {"type": "http", "method": "POST", "path": "/feedback", "raw_path": b"/feedback", "query_string": b""}
    scope |= {"headers": [(b"content-type", b"application/json")], "http_version": "1.1", "root_path": ""}
    scope |= {"scheme": "http", "server": ("test", 80), "client": ("test", 1)}
    running.add(asyncio.create_task(app(scope, receive, send)))
    return await status


async def main() -> None:
    async with app.router.lifespan_context(app):
        running = set()
        statuses = await asyncio.gather(*(post({"id": id}, running) for id in sys.argv[2:]))
        print(json.dumps([statuses, LOGGED]), flush=True)
        await asyncio.to_thread(sys.stdin.read)
    print(json.dumps(LOGGED), flush=True)


logging.getLogger().addHandler(Log(logging.ERROR))
asyncio.run(main())
