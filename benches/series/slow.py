from fanout import SATURATED
from figures import CLAIM, LATENCY, Section, claim, median, rounds
from servers import load, running

CONNECTIONS, SLOW = 5_000, 50
SEND_QUEUE_BYTES = 262_144
PACED = ["--rate", 10, "--pad", 2_000, "--warmup", 6, "--seconds", 4]


def slow(options):
    """5,000 subscribers in one room, 1 % of whom read nothing; payloads of 2,000 bytes, so that their sockets are full within seconds."""

    def measure(what, how, keys):
        def one(stalled):
            with running("ours") as server:
                return load("fanout", *server.how, "--conns", CONNECTIONS, "--stalled", stalled, *how)

        return rounds(options, one, [0, SLOW], keys, lambda stalled: f"{what}, {stalled} of {CONNECTIONS:,} read nothing")

    paced = measure("paced", PACED, ["deliveries_per_cpu_second", "resident", *LATENCY])
    fast = [*SATURATED, "--pad", 2_000, "--seconds", options.seconds]
    saturated = measure("saturated", fast, ["deliveries_per_cpu_second", "resident"])
    for figure in paced[0] + paced[SLOW]:
        figure["p99"] = figure["latency"]["p99"] / 1e3
    both = lambda figures, key: (median(figures[SLOW], key), median(figures[0], key))
    more = lambda key: max(slow - all_read for slow, all_read in (both(paced, key), both(saturated, key)))
    per_cpu = "deliveries_per_cpu_second"
    return Section("Slow readers", CLAIM, [
        claim("p99 of the others", *both(paced, "p99"), "≤ 1.05", " ms", "all read"),
        claim("deliveries per CPU second, paced", *both(paced, per_cpu), "≥ 0.95", beside_is="all read"),
        claim("deliveries per CPU second, saturated", *both(saturated, per_cpu), "≥ 0.95", beside_is="all read"),
        claim("memory for those who do not read", more("resident"), SLOW * SEND_QUEUE_BYTES, "≤ 1", " bytes", "the bound"),
    ])
