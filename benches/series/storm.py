from figures import CLAIM, LATENCY, Section, claim, median, rounds
from servers import load, notify, running

# `ulimit -n` is 20,000 on the machine of the record, and the others and the server itself need a few.
CONNECTIONS = 19_000
KEYS = [
    "connected_in", "bytes_per_connection", "microseconds_per_connection_second", "back_in", "received_of_missed",
    "bytes_per_connection_after_storm", *(f"others_{when} {key}" for when in ("quiet", "during") for key in LATENCY),
]


def storm(options):
    """All connections come, are cut off at once, miss five notifications, and come back for them, while 50 others in a room of their own get 200 notifications a second."""
    conns = 1_000 if options.quick else CONNECTIONS

    def measure(name):
        with running(name) as server:
            back = f"/ws/c{{i}}?room=r{{room}}&user_id=u{{i}}&{notify(server)}"
            return load("storm", *server.how, "--conns", conns, "--back", back, "--seconds", 3 if options.quick else 10)

    found = rounds(options, measure, ["ours"], KEYS)["ours"]
    for figure in found:
        figure |= {f"{key}, {when}": figure[f"others_{when}"]["latency"][key] / 1e3 for key in ("p50", "p99", "max") for when in ("quiet", "during")}
    of = lambda key: median(found, key)
    return Section("Reconnect storm", CLAIM, [
        claim("connected", of("open"), conns, "1", beside_is="tried"),
        claim("connected in", of("connected_in"), 3, "≤ 1", " s", "wanted"),
        claim("bytes for an idle connection", of("bytes_per_connection"), 4_096, "≤ 1", beside_is="wanted"),
        claim("CPU of an idle connection a second, pings and all", of("microseconds_per_connection_second"), 1, "≤ 1", " µs", "wanted"),
        claim("back, with everything that was missed, in", of("back_in"), 6, "≤ 1", " s", "wanted"),
        claim("received everything that was missed", of("received_of_missed"), conns, "1", beside_is="cut off"),
        claim("bytes for a connection after the storm", of("bytes_per_connection_after_storm"), of("bytes_per_connection"), "≤ 1.5", beside_is="before"),
        claim("received by the others", of("others_received_of_sent"), 1, "1", beside_is="sent"),
        *(claim(f"{key} of the others", of(f"{key}, during"), of(f"{key}, quiet"), "about 1", " ms", "in quiet") for key in ("p50", "p99", "max")),
    ])
