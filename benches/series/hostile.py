from figures import Section, median, number, rounds
from servers import flood, running

# What each flood is called here, and how many connections it opens a second at the most: those that were hung up on come back. Silent
# connections live for ten seconds, so that ten thousand of them take a thousand a second.
FLOODS = {
    "fragments": ("20 connections of empty fragments", 100),
    "pings-answered": ("1,000 HTTP/2 connections without a token that answer pings", 100),
    "silent": ("10,000 silent connections", 1_000),
    "unfinished-health": ("300 unfinished messages of 4 MiB to the health service", 100),
    "unfinished-publishes": ("300 unfinished messages of 1 MiB to `Publish`", 100),
    "unfinished-messages": ("1,000 WebSockets with an unfinished message of 250 KB", 100),
    "unread-history": ("100 unread answers of `/history`, of 6 MB", 100),
}
KEYS = ["quiet delivery p50", "beside delivery p50", "beside delivery p99", "above_quiet"]
HEAD = [
    "beside", "p50 in quiet", "p50 beside it", "ratio", "answer to gRPC, ratio", "to POST, ratio", "publishes refused",
    "received of sent", "memory above quiet", "goals",
]

# What is wanted: p50 in quiet, times so much; and so much memory.
RATIO, ABOVE_QUIET = 3, 256 * 1024 * 1024


def hostile(options):
    """Floods by connections that come back when they are hung up on, and healthy clients beside each: 20 subscribers of 110 notifications a second, which publishers with a good token send by gRPC and by `POST /notify`, ten a second of them by a new connection each. Wanted are a p50 of deliveries within three times its quiet value, nothing refused, everything received, and at most 256 MiB more of resident memory, all in one run."""

    def measure(name):
        with running("ours") as server:
            how = ["--quiet", 2, "--seconds", 3] if options.quick else ["--quiet", 5, "--seconds", 10]
            return flood(server, name, FLOODS[name][1], options.quick, *how)

    found = rounds(options, measure, FLOODS, KEYS, lambda name: FLOODS[name][0])
    rows, missed = [], []
    for name, figures in found.items():
        row, lacks = line(figures)
        rows.append([FLOODS[name][0], *row, "met" if not lacks else f"missed: {', '.join(lacks)}"])
        missed += [f"{FLOODS[name][0]}: {what}" for what in lacks]
    return Section("Floods", HEAD, rows, missed=missed)


def line(figures):
    """What the runs beside a flood say: a row, and which goals it misses. A refusal in any of them counts."""
    for figure in figures:
        for when in ("quiet", "beside"):
            figure |= {f"{when} {what}": time["p50"] for what, time in figure[when].items()}
    of = lambda key: median(figures, key)
    ratio = lambda what: of(f"beside {what}") / of(f"quiet {what}")
    refused, received = sum(figure["refused"] for figure in figures), min(figure["received_of_sent"] for figure in figures)
    above = max(figure["above_quiet"] for figure in figures)
    lacks = [
        what for what, is_met in {
            "p50": ratio("delivery") <= RATIO, "refused": refused == 0, "received": received == 1, "memory": above <= ABOVE_QUIET,
        }.items() if not is_met
    ]
    row = [
        f"{of('quiet delivery') / 1e3:.2f} ms", f"{of('beside delivery') / 1e3:.2f} ms", f"{ratio('delivery'):.2f}", f"{ratio('Grpc'):.2f}",
        f"{ratio('Rest'):.2f}", number(refused), f"{received:.4g}", f"{above / 1024 / 1024:.0f} MiB",
    ]
    return row, lacks
