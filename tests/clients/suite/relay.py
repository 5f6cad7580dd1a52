"""Relays that lose the answer to the first request: the server has it, the client does not know."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import grpc
import requests

PASSED_ON = ("authorization", "content-type", "idempotency-key")


@contextmanager
def losing_http_relay(base_url: str):
    """Yields its address and the list of the requests that came."""
    seen = []

    class Relay(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
            answer = requests.post(base_url + self.path, data=body, headers=headers, timeout=10)
            seen.append((headers["Idempotency-Key".lower()], body))
            self.close_connection = True
            if len(seen) > 1:
                self.send_response(answer.status_code)
                self.send_header("Content-Type", answer.headers["content-type"])
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

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
def losing_grpc_relay(address: str):
    """Yields its address and the list of the requests that came."""
    seen = []

    class Relay(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(lambda request, context: relay(details.method, request, context))

    def relay(method, request, context):
        metadata = [(name, value) for name, value in context.invocation_metadata() if name == "authorization"]
        answer = channel.unary_unary(method)(request, metadata=metadata, timeout=10)
        seen.append((method, request))
        if len(seen) == 1:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the answer was lost")
        return answer

    with grpc.insecure_channel(address) as channel, ThreadPoolExecutor() as pool:
        server = grpc.server(pool, handlers=[Relay()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}", seen
        finally:
            server.stop(None).wait()
