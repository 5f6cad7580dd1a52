import statistics

from chart import chart
from figures import LATENCY, LIMIT, Section, rounds
from servers import load, running


def latency(options):
    """Publish to receive, 1,000 subscribers, all in one room, at a rising load."""
    lines, rows = {}, []
    for rate in [10, 50, 100]:

        def measure(name):
            pace = ["--conns", 1_000, "--seconds", options.seconds, "--rate", rate]
            if name == LIMIT:
                return load("limit", "--writer-cpu", 0, *pace)
            with running(name) as server:
                return load("fanout", *server.how, *pace)

        say = lambda _: f"{rate * 1_000:,} deliveries a second"
        for name, found in rounds(options, measure, [LIMIT, "ours", "Nchan"], LATENCY, say).items():
            value = {key: statistics.median(figure["latency"][key] for figure in found) / 1e3 for key in ("p50", "p99", "max")}
            lines.setdefault(f"{name}, p50", []).append((rate * 1_000, value["p50"]))
            lines.setdefault(f"{name}, p99", []).append((rate * 1_000, value["p99"]))
            rows.append([f"{rate * 1_000:,}", name, *(f"{value[key]:.1f}" for key in value)])
    return Section(
        "Latency",
        ["deliveries a second", "server", "p50, ms", "p99, ms", "max, ms"],
        rows,
        {"latency": chart("Publish to receive", "deliveries a second", "ms", lines)},
    )
