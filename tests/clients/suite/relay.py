"""Relays that fail before they pass on: by losing an answer that the server gave, or by a refusal of their own."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import monotonic

import grpc
import requests

PASSED_ON = ("authorization", "content-type", "idempotency-key")
# Failures for the relays: the request is passed on, and its answer does not come back, or half of it does (over HTTP).
LOST, CUT = "lost", "cut"


@contextmanager
def http_relay(base_url: str, *failures):
    """Yields its address and the list of the requests that came.

    Each of `failures` is for one request: LOST, CUT, a status, or a status and the seconds of its Retry-After. Who comes back
    before they are over is refused for good.
    """
    seen = []
    closed_until = 0

    class Relay(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
            seen.append((headers["idempotency-key"], body))
            failure = failures[len(seen) - 1] if len(seen) <= len(failures) else None
            self.close_connection = True
            nonlocal closed_until
            if monotonic() < closed_until:
                self.send(403, {"Content-Length": 0}, b"")
            elif failure in (None, LOST, CUT):
                answer = requests.post(base_url + self.path, data=body, headers=headers, timeout=10)
                if failure != LOST:
                    length = len(answer.content)
                    headers = {"Content-Type": answer.headers["content-type"], "Content-Length": length}
                    self.send(answer.status_code, headers, answer.content[: length // 2 if failure == CUT else length])
            else:
                status, seconds = failure if isinstance(failure, tuple) else (failure, None)
                closed_until = monotonic() + (seconds or 0)
                self.send(status, {"Content-Length": 0} | ({"Retry-After": seconds} if seconds else {}), b"")

        def send(self, status, headers, content):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Relay)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", seen
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def grpc_relay(address: str, *failures):
    """The same for gRPC, with codes for statuses."""
    seen = []

    class Relay(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(lambda request, context: relay(details.method, request, context))

    def relay(method, request, context):
        seen.append((method, request))
        failure = failures[len(seen) - 1] if len(seen) <= len(failures) else None
        if failure not in (None, LOST):
            context.abort(failure, "refused by the relay")
        metadata = [(name, value) for name, value in context.invocation_metadata() if name == "authorization"]
        try:
            answer = channel.unary_unary(method)(request, metadata=metadata, timeout=10)
        except grpc.RpcError as refused:
            context.set_trailing_metadata(refused.trailing_metadata())
            context.abort(refused.code(), refused.details())
        if failure == LOST:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the answer was lost")
        return answer

    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(address) as channel, ThreadPoolExecutor() as pool:
        server = grpc.server(pool, handlers=[Relay()], options=options)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}", seen
        finally:
            server.stop(None).wait()
