"""What is asked for on the command line."""

SERIES = ["fanout", "saturated", "latency", "ingest", "shape", "slow", "deflate", "idle", "storm", "hostile"]
JOURNAL = ["append", "stream", "latency", "replay"]


def wanted(words):
    """What is to be run, each as the words that name it, once. Raises ValueError at a word that names nothing."""
    runs, words = [], list(words)
    while words:
        word = words.pop(0)
        if word == "journal":
            parts = []
            while words and words[0] in JOURNAL:
                parts.append(words.pop(0))
            runs += [("journal", part) for part in parts or JOURNAL]
        elif word in SERIES:
            runs.append((word,))
        else:
            raise ValueError(f"no such series: {word} (there are {', '.join(SERIES)}, and journal {' | '.join(JOURNAL)})")
    return list(dict.fromkeys(runs))
