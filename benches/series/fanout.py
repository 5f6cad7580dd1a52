from chart import chart
from figures import AT_THIS_PACE, LIMIT, Section, known, median, rounds
from servers import SERVERS, load, running

SATURATED = ["--publishers", 8, "--inflight", 4]


def fanout(options, batch=1):
    """Deliveries per CPU second over the number of subscribers."""
    sizes = [100, 1_000] if options.quick else [100, 1_000, 10_000]
    lines, rows = {}, []
    for size in sizes:
        # About fifty thousand deliveries a second: half of what the reader takes.
        pace = ["--conns", size, "--seconds", options.seconds]
        rate = ["--rate", 50_000 / size] if batch == 1 else []

        def measure(name):
            if name in (LIMIT, AT_THIS_PACE):
                return load("limit", "--writer-cpu", 0, "--batch", batch, *pace, *(rate if name == AT_THIS_PACE else []))
            with running(name) as server:
                return load("fanout", *server.how, *pace, *(rate or SATURATED))

        limits = [LIMIT, AT_THIS_PACE] if rate else [LIMIT]
        figures = rounds(options, measure, limits + list(SERVERS), ["deliveries_per_cpu_second"], lambda _: f"{size:,} subscribers")
        limit = median(figures.get(LIMIT, []), "deliveries_per_cpu_second")
        for name, found in figures.items():
            value = median(found, "deliveries_per_cpu_second")
            spread = sorted(map(round, known(found, "deliveries_per_cpu_second")))
            lines.setdefault(name, []).append((size, value))
            rows.append([f"{size:,}", name, f"{value:,.0f}", f"{value / limit:.0%}", f"{spread[0]:,} – {spread[-1]:,}"])
    kind = "paced" if batch == 1 else "saturated"
    return Section(
        f"Fan-out, {kind}",
        ["subscribers", "server", "deliveries per CPU second", "of the limit", "lowest – highest"],
        rows,
        {f"fanout-{kind}": chart(f"Fan-out, {kind}", "subscribers", "deliveries per CPU second", lines)},
    )


def saturated(options):
    """The same, published as fast as it goes; the limit writes 16 frames at once."""
    return fanout(options, batch=16)
