"""How figures are taken, and what becomes of them."""

import dataclasses
import statistics
import sys


@dataclasses.dataclass
class Section:
    """What one series says in BENCHMARKS.md."""

    title: str
    head: list
    rows: list
    charts: dict = dataclasses.field(default_factory=dict)


def rounds(count, measure, names):
    """Measures `names` in turn, `count` times. Gives the figures of each."""
    figures = {name: [] for name in names}
    for number in range(count):
        for name in names:
            figures[name].append(measure(name))
            print(f"  round {number + 1}, {name}: {figures[name][-1]}", file=sys.stderr)
    return figures


def known(figures, key):
    """The figures of the runs that have one: where the system charged a server no CPU time, there is none for it."""
    return [figure[key] for figure in figures if figure[key] is not None]


def median(figures, key):
    return statistics.median(known(figures, key))


CLAIM = ["what", "measured", "beside", "ratio", "wanted"]


def claim(what, value, beside, wanted, unit="", beside_is=""):
    """A row under CLAIM: a figure, the figure that it is held against, and what the ratio ought to be."""
    return [what, f"{number(value)}{unit}", f"{number(beside)}{unit}{beside_is and ', ' + beside_is}", f"{value / beside:.2f}", wanted]


def number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
