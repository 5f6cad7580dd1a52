"""The tree beside another revision of it, in turns: medians, ratios and spread of each figure. Writes nothing.

scripts/bench ab REV [--rounds N] [--quick] SERIES...

Only the service differs: what drives it is the tree's, so that REV may be older than a series. SERIES is any series of `scripts/bench`, or
`journal` and its parts: `scripts/bench ab main storm journal stream append`. What follows `journal` are its parts, as long as there are such.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import builds
from compare import table
from wanted import JOURNAL, SERIES, wanted

ROUNDS = 5


def run(what, server, benches, directory, quick):
    """Runs a series once against a server; its figures."""
    if what[0] == "journal":
        command = [benches["journal"], what[1]]
    else:
        command = [sys.executable, builds.ROOT / "benches" / "series", what[0]]
    with tempfile.NamedTemporaryFile("r") as figures:
        command += ["--rounds", "1", "--figures", figures.name, *(["--quick"] if quick else [])]
        binaries = {"SERVER": server, "LOAD": benches.get("load", ""), "BARE": benches.get("bare", ""), "FLOODS": benches.get("floods", "")}
        settings = os.environ | {name: str(path) for name, path in binaries.items()} | {"BENCH_DIR": directory}
        ended = subprocess.run(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        if ended.returncode:
            raise SystemExit(f"{ended.stdout[-4_000:]}\n{' '.join(what)} failed with {server}")
        return [json.loads(line) for line in figures]


def alternate(runs, servers, benches, options):
    """Gives the figures of each server, round by round: lists of one list a round for each of `servers`."""
    found = {name: [[] for _ in range(options.rounds)] for name in servers}
    with tempfile.TemporaryDirectory(dir=builds.HERE) as directory:
        for what in runs:
            for number in range(options.rounds):
                for name, server in servers.items():
                    began = time.monotonic()
                    place = pathlib.Path(directory) / name
                    place.mkdir(exist_ok=True)
                    found[name][number] += run(what, server, benches, str(place), options.quick)
                    took = time.monotonic() - began
                    print(f"  round {number + 1} of {options.rounds}, {' '.join(what)}, {name}: {took:.0f} s", file=sys.stderr)
    return found


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench ab", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help=f"how often each is run; {ROUNDS} unless it is said")
    parser.add_argument("--quick", action="store_true", help="fewer sizes, shorter runs")
    parser.add_argument("rev", metavar="REV", help="a commit, a branch or a tag")
    parser.add_argument("series", nargs="+", metavar="SERIES", help=f"{', '.join(SERIES)}; journal [{' | '.join(JOURNAL)}]...")
    options = parser.parse_intermixed_args()
    if options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    try:
        runs, commit = wanted(options.series), builds.commit(options.rev)
    except ValueError as error:
        parser.error(str(error))
    needed = {bench for what in runs for bench in (["journal"] if what[0] == "journal" else ["load", "bare", "floods"])}
    tree, benches = builds.tree(sorted(needed))
    rev = builds.revision(commit)
    found = alternate(runs, {"rev": rev, "tree": tree}, benches, options)
    print(table(options.rev, found["rev"], found["tree"]))


main()
