from chart import chart
from figures import Section, rounds
from servers import SERVERS, load, running


def idle(options):
    """Memory and CPU time of a connection that does nothing."""
    # Long enough for each connection to be pinged, where CPU time counts.
    sizes = {1_000: 5} if options.quick else {1_000: 2, 10_000: 26}
    lines, rows = {}, []

    def measured(size, seconds, names):
        def measure(name):
            with running(name) as server:
                return load("idle", *server.how, "--conns", size, "--seconds", seconds)

        # Memory hardly varies: once for each size and server.
        keys = ["bytes_per_connection", "bytes_per_connection_after_burst", "microseconds_per_connection_second", "connected_in"]
        for name, (figure,) in rounds(options, measure, names, keys, lambda _: f"{size:,} connections", count=1).items():
            lines.setdefault(name, []).append((size, figure["bytes_per_connection"]))
            rows.append([
                f"{size:,}", name, f"{figure['bytes_per_connection']:,.0f}", f"{figure['bytes_per_connection_after_burst']:,.0f}",
                f"{figure['microseconds_per_connection_second']:.2f}", f"{figure['connected_in']:.2f}",
            ])

    for size, seconds in sizes.items():
        measured(size, seconds, SERVERS)
    return Section(
        "Idle connections",
        ["connections", "server", "bytes for each", "after a burst", "µs of CPU a second for each", "connected in, s"],
        rows,
        {"idle": chart("Idle connections", "connections", "bytes for each", lines)},
    )
