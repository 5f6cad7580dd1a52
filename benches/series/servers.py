"""The servers that are measured: ours and its peers, each pinned to CPU 0 while it is up."""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = ROOT / "benches" / "peers"
BODY = '{"event":"bench.event","payload":{"ts":"{ts}","seq":{seq},"pad":"{pad}"},"room":"r{room}"}'


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listening(port, process):
    for _ in range(500):
        if process.poll() is not None:
            raise RuntimeError(f"{process.args} ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    raise RuntimeError(f"{process.args} does not listen on {port}")


def ours(port, directory):
    binary = ROOT / "target" / "release" / "exposia-notifications"
    settings = {
        "HOST": "127.0.0.1", "PORT": str(port), "GRPC_PORT": str(free_port()), "JOURNAL": "memory",
        "LOG_LEVEL": "ERROR", "DATA_DIR": directory,
    }
    return [binary], settings, []


def nchan(port, directory):
    os.chmod(directory, 0o755)
    conf = (PEERS / "nginx.conf").read_text().replace("@DIR@", directory).replace("@PORT@", str(port))
    path = pathlib.Path(directory) / "nginx.conf"
    path.write_text(conf)
    how = ["--path", "/sub?id=r{room}", "--to", "/pub?id=r{room}", "--body", '{"ts":"{ts}","seq":{seq},"pad":"{pad}"}']
    return ["nginx", "-p", directory, "-c", path], {}, how


def ws(port, _directory):
    return ["node", PEERS / "ws.js", str(port)], {"NODE_ENV": "production"}, ["--path", "/?room=r{room}", "--body", BODY]


def socketio(port, _directory):
    how = ["--path", "/socket.io/?EIO=4&transport=websocket&room=r{room}", "--hello", "40", "--body", BODY]
    return ["node", PEERS / "socketio.js", str(port)], {"NODE_ENV": "production"}, how


SERVERS = {"ours": ours, "Nchan": nchan, "ws": ws, "socket.io": socketio}


@contextlib.contextmanager
def running(name):
    """Starts a server; gives what the load generator has to be told to reach it."""
    port = free_port()
    with tempfile.TemporaryDirectory() as directory:
        command, settings, how = SERVERS[name](port, directory)
        process = subprocess.Popen(["taskset", "-c", "0", *command], env=os.environ | settings, cwd=PEERS)
        try:
            listening(port, process)
            yield ["--address", f"127.0.0.1:{port}", "--pid", str(process.pid), *how]
        finally:
            process.terminate()
            process.wait()


def load(*arguments):
    """One run of the load generator on CPU 1; its figures."""
    command = [os.environ["LOAD"], *map(str, arguments), "--cpu", "1"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
