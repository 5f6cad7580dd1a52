import subprocess
import time

from fanout import SATURATED
from figures import CLAIM, Section, claim, median, rounds
from publishing import STREAM, STREAM_LENGTH, call, message, publish
from servers import LOAD, load, running, stats

MEMBERS = 10_000
PAYLOAD = '"event":"bench.event","payload":{"ts":"{ts}","seq":{seq},"pad":"{pad}"}'
TO_USER = ["--into", MEMBERS, "--body", f'{{{PAYLOAD},"target":{{"users":["u{{room}}"]}}}}']
TO_HUNDRED_ROOMS = ["--into", MEMBERS // 100, "--body", f'{{{PAYLOAD},"target":{{"rooms":[{{hundred}}]}}}}']
TO_NOBODY = ["--body", f'{{{PAYLOAD},"target":{{"rooms":["nobody"]}}}}', "--rate", 2_000]

# More on its way than two cores take: with 64 notifications and one client, which has a core to itself while one is measured and shares
# both afterwards, it is the client that is waited for.
CROWDED = ["--conns", 1_000, "--publishers", 16, "--inflight", 32, "--window", 1_024]

# What is run, and on which CPUs the server and the load generator may be.
RUNS = {
    "one room": (["--conns", MEMBERS, "--rate", 5], "0", "1"),
    "rooms of one": (["--conns", MEMBERS, "--rooms", MEMBERS, "--rate", 500, *TO_HUNDRED_ROOMS], "0", "1"),
    "rooms of one, each by itself": (["--conns", MEMBERS, "--rooms", MEMBERS, *SATURATED], "0", "1"),
    "users": (["--conns", MEMBERS, *TO_USER, *SATURATED], "0", "1"),
    "nobody, 0": (["--conns", 0, *TO_NOBODY], "0", "1"),
    "nobody, 10,000": (["--conns", MEMBERS, *TO_NOBODY], "0", "1"),
    "one core": (CROWDED, "0", "1"),
    "two cores": (CROWDED, "0,1", "0,1"),
    "one core, 64": (["--conns", 1_000, *SATURATED], "0", "1"),
    "two cores, 64": (["--conns", 1_000, *SATURATED], "0,1", "0,1"),
}


def streamed():
    """Publishes to one of 10,000 users after the other over a stream. Gives µs of the server's CPU for each, delivered."""
    body, streams = b"".join(message(f"u{user}") for user in range(STREAM_LENGTH)), 20
    with running("ours") as server:
        # They publish next to nothing themselves.
        hold = [LOAD, "fanout", *server.how, "--conns", str(MEMBERS), "--rate", "0.01", "--seconds", "60"]
        with subprocess.Popen(["taskset", "-c", "1", *hold], stdout=subprocess.DEVNULL) as users:
            while stats(server)["total_connections"] < MEMBERS:
                time.sleep(0.1)
            server.rest()
            before = server.cpu_seconds()
            publish(call(server, "PublishStream"), body, streams, STREAM)
            server.rest()
            used = server.cpu_seconds() - before
            users.kill()
    return {"microseconds_per_publish": used * 1e6 / (streams * STREAM_LENGTH)}


def shape(options):
    """What the same load costs in another shape: all in one room or each in one, to users, to nobody, on one core or two."""

    def measure(name):
        how, cpus, load_cpus = RUNS[name]
        with running("ours", cpus) as server:
            return load("fanout", *server.how, *how, "--seconds", options.seconds, cpus=load_cpus)

    found = rounds(options, measure, RUNS, ["deliveries_per_cpu_second", "microseconds_per_publish"])
    found |= rounds(options, lambda _: streamed(), ["users, over a stream"], ["microseconds_per_publish"])
    per_cpu = lambda name: median(found[name], "deliveries_per_cpu_second")
    cost = lambda name: median(found[name], "microseconds_per_publish")
    # What the server makes of a second of both cores: the clients use what it leaves of them.
    cores = lambda beside: (2 * per_cpu(f"two cores{beside}"), per_cpu(f"one core{beside}"))
    what = "deliveries per CPU second"
    return Section("Shape", CLAIM, [
        claim(f"{what}, 10,000 rooms of 1, 100 of them a request", per_cpu("rooms of one"), per_cpu("one room"), "≥ 0.85", beside_is="1 room of 10,000"),
        claim(f"{what}, 10,000 rooms of 1, one a request", per_cpu("rooms of one, each by itself"), per_cpu("one room"), "–", beside_is="1 room of 10,000"),
        claim("to one of 10,000 users, a request each, all in", cost("users"), 10, "≤ 1", " µs", "wanted"),
        claim("to one of 10,000 users, over a stream, all in", cost("users, over a stream"), 10, "≤ 1", " µs", "wanted"),
        claim("to nobody among 10,000", cost("nobody, 10,000"), cost("nobody, 0"), "about 1", " µs", "among none"),
        claim("deliveries a second of two whole cores, saturated", *cores(""), "≥ 1.6", beside_is="of one"),
        claim("the same with 64 notifications on their way at the most", *cores(", 64"), "–", beside_is="of one"),
    ])
