"""The arithmetic of a comparison, and how it is shown."""

import dataclasses
import statistics

# So many rounds are needed for a verdict: fewer agree too often by chance.
ENOUGH = 3


@dataclasses.dataclass
class Row:
    """A figure of both builds: what each round found, in the order of the rounds."""

    series: str
    figure: str
    unit: str
    better: str
    before: list
    after: list

    def ratio(self):
        """The median of the tree's beside that of the revision's; none beside nothing."""
        before = statistics.median(self.before)
        return statistics.median(self.after) / before if before else None

    def ratios(self):
        """Those of the rounds by themselves."""
        return [after / before for before, after in zip(self.before, self.after) if before]

    def verdict(self):
        """What every round says of the tree, if they agree; as closely as ratios are shown."""
        ratios = [round(ratio, 3) for ratio in self.ratios()]
        if len(ratios) >= ENOUGH and min(ratios) > 1:
            return "better" if self.better == "more" else "worse"
        if len(ratios) >= ENOUGH and max(ratios) < 1:
            return "worse" if self.better == "more" else "better"
        return "–"


def rows(before, after):
    """Brings the figures of two builds together. Each is a list of rounds, each of which is a list of figures as they were noted.

    Only rounds count in which both have the figure, so that they are compared in pairs.
    """
    found = {}
    for rounds in zip(before, after):
        old, new = ({(figure["series"], figure["figure"]): figure for figure in figures} for figures in rounds)
        for key, figure in old.items():
            if key in new:
                row = found.setdefault(key, Row(*key, figure["unit"], figure["better"], [], []))
                row.before.append(figure["value"])
                row.after.append(new[key]["value"])
    return list(found.values())


HEAD = ["series", "figure", "wanted", "{rev}", "tree", "ratio", "of the rounds", "in every round"]


def table(rev, before, after):
    """All of it as a table; `before` and `after` as `rows` takes them."""
    lines = [[word.format(rev=rev) for word in HEAD], ["---"] * len(HEAD)]
    for row in rows(before, after):
        ratio, ratios = row.ratio(), row.ratios()
        lines.append([
            row.series, f"{row.figure}, {row.unit}", row.better, spread(row.before), spread(row.after),
            "–" if ratio is None else f"{ratio:.3f}", f"{min(ratios):.3f} – {max(ratios):.3f}" if ratios else "–", row.verdict(),
        ])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(values):
    """The median, the lowest and the highest."""
    return f"{number(statistics.median(values))} ({number(min(values))} – {number(max(values))})"


def number(value):
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
