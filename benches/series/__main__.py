"""Runs the series, in turns and three times, and writes their medians, ratios and charts into BENCHMARKS.md.

python3 benches/series [--quick] [fanout|saturated|idle|latency]...
"""

import argparse
import datetime
import pathlib
import platform
import statistics
import sys

from chart import chart
from servers import ROOT, SERVERS, load, running

SATURATED = ["--publishers", 8, "--inflight", 4]
CHARTS = ROOT / "benches" / "charts"


def rounds(count, measure, names):
    """Measures `names` in turn, `count` times. Gives the figures of each."""
    figures = {name: [] for name in names}
    for number in range(count):
        for name in names:
            figures[name].append(measure(name))
            print(f"  round {number + 1}, {name}: {figures[name][-1]}", file=sys.stderr)
    return figures


def median(figures, key):
    return statistics.median(figure[key] for figure in figures)


def fanout(options, batch=1):
    """Deliveries per CPU second over the number of subscribers."""
    sizes = [100, 1_000] if options.quick else [100, 1_000, 10_000]
    lines, table = {}, []
    for size in sizes:
        # About fifty thousand deliveries a second: half of what the reader takes.
        pace = ["--conns", size, "--seconds", options.seconds]
        rate = ["--rate", 50_000 / size] if batch == 1 else []

        def measure(name):
            if name == "limit":
                return load("limit", "--writer-cpu", 0, "--batch", batch, *pace)
            with running(name) as server:
                return load("fanout", *server, *pace, *(rate or SATURATED))

        figures = rounds(options.rounds, measure, ["limit", *SERVERS])
        limit = median(figures["limit"], "deliveries_per_cpu_second")
        for name, found in figures.items():
            value = median(found, "deliveries_per_cpu_second")
            spread = sorted(round(figure["deliveries_per_cpu_second"]) for figure in found)
            lines.setdefault(name, []).append((size, value))
            table.append([f"{size:,}", name, f"{value:,.0f}", f"{value / limit:.0%}", f"{spread[0]:,} – {spread[-1]:,}"])
    kind = "paced" if batch == 1 else "saturated"
    return (
        f"Fan-out, {kind}",
        ["subscribers", "server", "deliveries per CPU second", "of the limit", "lowest – highest"],
        table,
        {f"fanout-{kind}": chart(f"Fan-out, {kind}", "subscribers", "deliveries per CPU second", lines)},
    )


def saturated(options):
    """The same, published as fast as it goes; the limit writes 16 frames at once."""
    return fanout(options, batch=16)


def idle(options):
    """Memory and CPU time of a connection that does nothing."""
    sizes = [1_000] if options.quick else [1_000, 10_000]
    lines, table = {}, []
    for size in sizes:

        def measure(name):
            with running(name) as server:
                return load("idle", *server, "--conns", size, "--seconds", 10 if options.quick else 25)

        # Memory hardly varies: once for each size and server.
        for name, (figure,) in rounds(1, measure, SERVERS).items():
            lines.setdefault(name, []).append((size, figure["bytes_per_connection"]))
            table.append([
                f"{size:,}", name, f"{figure['bytes_per_connection']:,.0f}", f"{figure['bytes_per_connection_after_burst']:,.0f}",
                f"{figure['microseconds_per_connection_second']:.2f}", f"{figure['connected_in']:.2f}",
            ])
    return (
        "Idle connections",
        ["connections", "server", "bytes for each", "after a burst", "µs of CPU a second for each", "connected in, s"],
        table,
        {"idle": chart("Idle connections", "connections", "bytes for each", lines)},
    )


def latency(options):
    """Publish to receive, 1,000 subscribers, all in one room, at a rising load."""
    lines, table = {}, []
    for rate in [10, 50, 100]:

        def measure(name):
            pace = ["--conns", 1_000, "--seconds", options.seconds, "--rate", rate]
            if name == "limit":
                return load("limit", "--writer-cpu", 0, *pace)
            with running(name) as server:
                return load("fanout", *server, *pace)

        for name, found in rounds(options.rounds, measure, ["limit", "ours", "Nchan"]).items():
            value = {key: statistics.median(figure["latency"][key] for figure in found) / 1e3 for key in ("p50", "p99", "max")}
            lines.setdefault(f"{name}, p50", []).append((rate * 1_000, value["p50"]))
            lines.setdefault(f"{name}, p99", []).append((rate * 1_000, value["p99"]))
            table.append([f"{rate * 1_000:,}", name, *(f"{value[key]:.1f}" for key in value)])
    return (
        "Latency",
        ["deliveries a second", "server", "p50, ms", "p99, ms", "max, ms"],
        table,
        {"latency": chart("Publish to receive", "deliveries a second", "ms", lines)},
    )


SERIES = {series.__name__: series for series in (fanout, saturated, idle, latency)}


def section(series, options):
    title, head, table, charts = SERIES[series](options)
    if not options.quick:
        CHARTS.mkdir(exist_ok=True)
        for name, svg in charts.items():
            (CHARTS / f"{name}.svg").write_text(svg)
    rows = [head, ["---"] * len(head), *table]
    when = datetime.date.today().isoformat()
    return "\n".join([
        f"## {title}", "", f"{SERIES[series].__doc__.strip()} `scripts/bench {series}`, {when}, {platform.machine()}, "
        f"{cpu_model()}, Linux {platform.release()}.", "",
        *("| " + " | ".join(row) + " |" for row in rows), "", *(f"![{title}](benches/charts/{name}.svg)" for name in charts), "",
    ])


def cpu_model():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(models)} × {models[0]}" if models else "an unnamed CPU"


def write(series, text):
    """Puts the section of a series between its marks in BENCHMARKS.md."""
    path = ROOT / "BENCHMARKS.md"
    begin, end = f"<!-- {series} -->\n", f"<!-- end of {series} -->\n"
    page = path.read_text()
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(before + begin + text + end + after)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer sizes, one short round; shown, not written")
    parser.add_argument("series", nargs="*", metavar="SERIES", help=", ".join(SERIES))
    options = parser.parse_args()
    if unknown := set(options.series) - set(SERIES):
        parser.error(f"no such series: {', '.join(sorted(unknown))}")
    options.rounds, options.seconds = (1, 1) if options.quick else (3, 2)
    for series in options.series or SERIES:
        text = section(series, options)
        print(text)
        if not options.quick:
            write(series, text)


main()
