"""Runs the series, in turns and three times, and writes their medians, ratios and charts into BENCHMARKS.md.

python3 benches/series [--quick] [--rounds N] [--figures FILE] [SERIES]...

SERVER, LOAD, FLOODS and BARE are the binaries: of the service, which may be another revision's, of the load generator, of the floods, and of
the calls that do nothing. A series that has goals ends with a failure when it misses one.
"""

import argparse
import datetime
import os
import pathlib
import platform
import sys

from deflate import deflate
from fanout import fanout, saturated
from hostile import hostile
from idle import idle
from ingest import ingest
from latency import latency
from servers import ROOT
from shape import shape
from slow import slow
from storm import storm

CHARTS = ROOT / "benches" / "charts"
SERIES = {series.__name__: series for series in (fanout, saturated, latency, ingest, shape, slow, deflate, idle, storm, hostile)}


def page(series, section):
    rows = [section.head, ["---"] * len(section.head), *section.rows]
    when = datetime.date.today().isoformat()
    return "\n".join([
        f"## {section.title}", "", f"{SERIES[series].__doc__.strip()} `scripts/bench {series}`, {when}, {platform.machine()}, "
        f"{cpu_model()}, Linux {platform.release()}{profile()}.", "",
        *("| " + " | ".join(row) + " |" for row in rows), "",
        *(f"![{section.title}](benches/charts/{name}.svg)\n" for name in section.charts),
    ])


def cpu_model():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{len(models)} × {models[0]}" if models else "an unnamed CPU"


def profile():
    """What was set other than the release profile of Cargo.toml."""
    changed = [f"{key}={value}" for key, value in sorted(os.environ.items()) if key.startswith("CARGO_PROFILE_RELEASE_") or key == "BENCH_PROFILE"]
    return "".join(f", `{setting}`" for setting in changed)


def write(series, text):
    """Puts the section of a series between its marks in BENCHMARKS.md."""
    path = ROOT / "BENCHMARKS.md"
    begin, end = f"<!-- {series} -->\n", f"<!-- end of {series} -->\n"
    content = path.read_text()
    before, _, rest = content.partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(before + begin + text + end + after)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer sizes, one short round; shown, not written")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often each is measured")
    parser.add_argument("--figures", metavar="FILE", help="measure the service without its peers, and add a line of JSON for each figure; BENCHMARKS.md stays")
    parser.add_argument("series", nargs="*", metavar="SERIES", help=", ".join(SERIES))
    options = parser.parse_args()
    if unknown := set(options.series) - set(SERIES):
        parser.error(f"no such series: {', '.join(sorted(unknown))}")
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = 1 if options.quick else 2
    CHARTS.mkdir(exist_ok=True)
    missed = []
    for series in options.series or SERIES:
        options.current = series
        section = SERIES[series](options)
        text = page(series, section)
        print(text)
        missed += section.missed
        if not options.quick and not options.figures:
            write(series, text)
            for name, svg in section.charts.items():
                (CHARTS / f"{name}.svg").write_text(svg)
    if missed and not options.figures:
        sys.exit("missed: " + "; ".join(missed))


main()
