"""Publishes each call on standard input, one a line, with a Python snippet: one answer a line.

    python publish.py FOLDER-OF-THE-SNIPPET

A call is {event, payload, key}; an answer is {payload, answer}, where `payload` is the text that this language makes of
the payload, and so the one that subscribers must receive. A call without a payload is made with one that is no JSON.
"""

import json
import sys

sys.path.insert(0, sys.argv[1])
from notifications import NotificationService  # noqa: E402

service = NotificationService()
for call in map(json.loads, sys.stdin):
    answer = service.send_notification(call["event"], call.get("payload", {"id": object()}), call["key"])
    ascii_only = isinstance(answer, dict)  # `requests` escapes the rest, the gRPC snippet does not
    if answer is not None and not isinstance(answer, dict):
        answer = {name: getattr(answer, name) for name in ("id", "sequence", "receivers", "duplicate")}
    print(json.dumps({"payload": json.dumps(call.get("payload"), ensure_ascii=ascii_only), "answer": answer}), flush=True)
