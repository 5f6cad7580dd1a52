"""How figures are taken, and what becomes of them."""

import dataclasses
import json
import math
import statistics
import sys

from servers import OTHERS, SERVERS

# Bare writes as fast as they go, and as many a second as the servers make.
LIMIT, AT_THIS_PACE = "limit", "limit at this pace"

# What the service is held against: not run where its own figures are wanted.
PEERS = {LIMIT, AT_THIS_PACE, *(SERVERS | OTHERS)} - {"ours"}

# What a measured key is called in the file of figures, its unit, how many of what was measured are one of that, and what is better.
KEYS = {
    "bytes_per_connection": ("for a connection", "bytes", 1, "less"),
    "bytes_per_connection_after_burst": ("for a connection after a burst", "bytes", 1, "less"),
    "bytes_per_connection_after_storm": ("for a connection after the storm", "bytes", 1, "less"),
    "bytes_per_delivery": ("for a delivery", "bytes", 1, "less"),
    "resident": ("held in memory", "bytes", 1, "less"),
    "microseconds_per_connection_second": ("of CPU a second for a connection", "µs", 1, "less"),
    "microseconds_per_publish": ("of CPU for a publish", "µs", 1, "less"),
    "connected_in": ("until all are connected", "s", 1, "less"),
    "back_in": ("until all are back", "s", 1, "less"),
    "deliveries_per_cpu_second": ("deliveries", "per CPU second", 1, "more"),
    "deliveries_per_second": ("deliveries", "a second", 1, "more"),
    "per_cpu_second": ("events", "per CPU second", 1, "more"),
    "per_second": ("events", "a second", 1, "more"),
    "received_of_missed": ("received what they missed", "connections", 1, "more"),
    "quiet delivery p50": ("p50 of a delivery in quiet", "ms", 1_000, "less"),
    "beside delivery p50": ("p50 of a delivery beside it", "ms", 1_000, "less"),
    "beside delivery p99": ("p99 of a delivery beside it", "ms", 1_000, "less"),
    "above_quiet": ("memory above quiet", "bytes", 1, "less"),
}
LATENCY = ["latency p50", "latency p99", "latency max"]
for at, whose in {"": "", "others_quiet ": ", others in quiet", "others_during ": ", others in the storm"}.items():
    KEYS |= {f"{at}{key}": (f"{key.removeprefix('latency ')}{whose}", "ms", 1_000, "less") for key in LATENCY}


@dataclasses.dataclass
class Section:
    """What one series says in BENCHMARKS.md."""

    title: str
    head: list
    rows: list
    charts: dict = dataclasses.field(default_factory=dict)
    missed: list = dataclasses.field(default_factory=list)


def rounds(options, measure, names, keys, say=str, count=None):
    """Measures `names` in turn, `options.rounds` times. Gives the figures of each.

    `keys` are those that are worth a line in the file of figures; `say` tells of which run there, by its name.
    """
    names = [name for name in names if name not in PEERS or not options.figures]
    figures = {name: [] for name in names}
    for number in range(count or options.rounds):
        for name in names:
            figure = measure(name)
            figures[name].append(figure)
            print(f"  round {number + 1}, {name}: {figure}", file=sys.stderr)
            if options.figures:
                note(options, figure, keys, "" if name == "ours" and say is str else say(name))
    return figures


def note(options, figure, keys, run):
    """Adds what was measured to the file of figures, a line of JSON for each key that has a value: no time and no memory is none."""
    with open(options.figures, "a") as file:
        for key in keys:
            value = figure
            for part in key.split(" "):
                value = value[part]
            what, unit, size, better = KEYS[key]
            name = f"{run}: {what}" if run else what
            line = {"series": options.current, "figure": name, "unit": unit, "better": better}
            if value or value == 0 and better == "more":
                file.write(json.dumps(line | {"value": value / size}, ensure_ascii=False) + "\n")


def known(figures, key):
    """The figures of the runs that have one: where the system charged a server no CPU time, there is none for it."""
    return [figure[key] for figure in figures if figure[key] is not None]


def median(figures, key):
    """The median of what is known; of peers that were not run nothing is."""
    return statistics.median(known(figures, key) or [math.nan])


CLAIM = ["what", "measured", "beside", "ratio", "wanted"]


def claim(what, value, beside, wanted, unit="", beside_is=""):
    """A row under CLAIM: a figure, the figure that it is held against, and what the ratio ought to be."""
    return [what, f"{number(value)}{unit}", f"{number(beside)}{unit}{beside_is and ', ' + beside_is}", f"{value / beside:.2f}", wanted]


def number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
