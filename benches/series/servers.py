"""The servers that are measured: ours and its peers, each pinned to CPU 0 while it is up."""

import contextlib
import dataclasses
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOAD, FLOODS, BARE, SERVER = (os.environ[name] for name in ("LOAD", "FLOODS", "BARE", "SERVER"))
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


def ours(port, directory, grpc_port):
    settings = {
        "HOST": "127.0.0.1", "PORT": str(port), "GRPC_PORT": str(grpc_port), "JOURNAL": "memory", "DATA_DIR": directory,
    }
    return [SERVER], settings, []


def bare(port, _directory, grpc_port):
    return [BARE, str(port), str(grpc_port)], {}, []


def nchan(port, directory, _grpc_port):
    os.chmod(directory, 0o755)
    conf = (PEERS / "nginx.conf").read_text().replace("@DIR@", directory).replace("@PORT@", str(port))
    path = pathlib.Path(directory) / "nginx.conf"
    path.write_text(conf)
    how = ["--path", "/sub?id=r{room}", "--to", "/pub?id=r{room}", "--body", '{"ts":"{ts}","seq":{seq},"pad":"{pad}"}']
    return ["nginx", "-p", directory, "-c", path], {}, how


def ws(port, _directory, _grpc_port):
    return ["node", PEERS / "ws.js", str(port)], {"NODE_ENV": "production"}, ["--path", "/?room=r{room}", "--body", BODY]


def socketio(port, _directory, _grpc_port):
    how = ["--path", "/socket.io/?EIO=4&transport=websocket&room=r{room}", "--hello", "40", "--body", BODY]
    return ["node", PEERS / "socketio.js", str(port)], {"NODE_ENV": "production"}, how


SERVERS = {"ours": ours, "Nchan": nchan, "ws": ws, "socket.io": socketio}
OTHERS = {"bare": bare}
TICKS = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass
class Server:
    """A server that is up; `how` is what the load generator has to be told to reach it."""

    pid: int
    port: int
    grpc_port: int
    how: list

    def cpu_seconds(self):
        """Seconds of CPU, user's and system's, so far."""
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rest(self):
        """Waits until the server has nothing to do, or next to nothing."""
        used = -1
        while self.cpu_seconds() > used + 0.02:
            used = self.cpu_seconds()
            time.sleep(0.3)


@contextlib.contextmanager
def running(name, cpus="0", **more):
    """Starts a server on some CPUs, with more settings."""
    port, grpc_port = free_port(), free_port()
    with tempfile.TemporaryDirectory() as directory:
        command, settings, how = (SERVERS | OTHERS)[name](port, directory, grpc_port)
        log = pathlib.Path(directory) / "log"
        with log.open("wb") as errors:
            process = subprocess.Popen(["taskset", "-c", cpus, *command], env=os.environ | settings | more, cwd=PEERS, stderr=errors)
        try:
            listening(port, process)
            yield Server(process.pid, port, grpc_port, ["--address", f"127.0.0.1:{port}", "--pid", str(process.pid), *how])
        except Exception:
            print(log.read_text(errors="replace")[-2_000:], file=sys.stderr)
            raise
        finally:
            process.terminate()
            process.wait()


def stats(server):
    """What our server says about itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/stats") as answer:
        return json.load(answer)


def notify(server):
    """Publishes an event; where it stands in our server's journal, as a subscriber asks to resume from there."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/notify", b'{"event":"bench.first","payload":{}}', {"authorization": "Bearer dev"})
    with urllib.request.urlopen(request) as answer:
        published = json.load(answer)
    return f"since={published['sequence']}&epoch={published['id'].rpartition('-')[0]}"


def load(*arguments, cpus="1"):
    """One run of the load generator on some CPUs; its figures."""
    command = ["taskset", "-c", cpus, LOAD, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def flood(server, kind, openings, quick, *arguments, cpus="1"):
    """One run of the floods on some CPUs, with a tenth of the connections when it is to be quick; its figures."""
    command = [
        "taskset", "-c", cpus, FLOODS, "beside", "--http", f"127.0.0.1:{server.port}", "--grpc", f"127.0.0.1:{server.grpc_port}",
        "--pid", str(server.pid), "--kind", kind, "--openings", str(openings), "--part", "10" if quick else "1", *map(str, arguments),
    ]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
