import timeit

from figures import CLAIM, Section, claim, median, rounds
from publishing import JSON, REST, STREAM, STREAM_LENGTH, UNARY, call, message, publish
from servers import load, running, stats

LARGE = 60_000
WAYS = {
    # What, the body, events in a body, events in all, and how h2load is to send it.
    "Publish": (message(), 1, 60_000, UNARY),
    "PublishStream": (message() * STREAM_LENGTH, STREAM_LENGTH, 400_000, STREAM),
    "POST /notify": (JSON, 1, 100_000, REST),
}


def measure(way, name):
    """Events a second, and a second of the server's CPU time."""
    body, per_body, events, how = WAYS[way]
    with running(name) as server:
        address = f"http://127.0.0.1:{server.port}/notify" if how is REST else call(server, way)
        before = server.cpu_seconds()
        rate = publish(address, body, events // per_body, how) * per_body
        used = server.cpu_seconds() - before
        if name == "ours" and (accepted := stats(server)["total_notifications_sent"]) != events:
            raise RuntimeError(f"{accepted} of {events} events were accepted")
        return {"per_second": rate, "per_cpu_second": events / used}


def large(options):
    """Publishes 60 KB to subscribers who do not read."""

    def one(conns):
        with running("ours") as server:
            return load("fanout", *server.how, "--conns", conns, "--stalled", conns, "--pad", LARGE, "--seconds", options.seconds)

    few, many = 1, 1_000
    keys = ["microseconds_per_publish", "resident"]
    found = rounds(options, one, [few, many], keys, lambda conns: f"60 KB to {conns:,} who do not read")
    each = lambda key: (median(found[many], key) - median(found[few], key)) / (many - few)
    block = bytearray(LARGE)
    copy = min(timeit.repeat(lambda: bytes(block), number=1_000)) * 1e3
    return [
        claim("CPU for 60 KB to one more who does not read", each("microseconds_per_publish"), copy, "≪ 1", " µs", "a copy of it"),
        claim("memory for one more who does not read 60 KB", each("resident"), LARGE, "≪ 1", " bytes", "a copy of it"),
    ]


def ingest(options):
    """What publishing costs, beside calls that do nothing (`benches/bare`), by `h2load` on CPU 1: 16 calls at a time over each of 8 connections, one long stream, 64 connections with one request at a time; payloads of 200 bytes, or 60 KB to subscribers who do not read."""
    rows, ours = [], {}
    for what in WAYS:
        units = {"per_second": "a second", "per_cpu_second": "a CPU second"}
        figures = rounds(options, lambda name: measure(what, name), ["bare", "ours"], units, lambda _: what)
        for key, unit in units.items():
            value, beside = (median(figures.get(name, []), key) for name in ("ours", "bare"))
            ours[what, key] = value
            rows.append(claim(f"`{what}`, {unit}", value, beside, "–" if what == "PublishStream" else "≥ 0.7", beside_is="empty"))
    stream, unary = ours["PublishStream", "per_second"], ours["Publish", "per_second"]
    rows.append(claim("`PublishStream` beside `Publish`, a second", stream, unary, "≥ 5"))
    rows += large(options)
    return Section("Ingest", CLAIM, rows)
