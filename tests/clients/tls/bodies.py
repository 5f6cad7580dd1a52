"""What is posted, by whatever client."""

import json


def event(size: int) -> bytes:
    """An event for everyone whose JSON has so many bytes; at least 100."""
    frame = {"event": "test.tls", "target": {"everyone": True}, "payload": {"filler": ""}}
    frame["payload"]["filler"] = "x" * (size - len(json.dumps(frame)))
    return json.dumps(frame).encode()
