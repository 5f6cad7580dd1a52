"""Line charts as plain SVG: logarithmic on both axes, one colour for each series."""

import html
import math

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 80, 130, 40, 50
COLOURS = ["#444444", "#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e"]


def short(value):
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def ticks(low, high):
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step * 10**power for power in powers for step in (1, 2, 5) if low <= step * 10**power <= high]


def chart(title, x_name, y_name, series):
    """`series` is a dictionary from a name to its points. What is 0 was not measured, and has no place on a logarithmic axis."""
    series = {name: [(x, y) for x, y in line if y > 0] for name, line in series.items()}
    points = [point for line in series.values() for point in line]
    if not points:
        return ""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x_range, y_range = (min(xs), max(xs)), (min(ys) * 0.8, max(ys) * 1.25)

    def place(value, bounds, start, end):
        low, high = map(math.log10, bounds)
        return start + (math.log10(value) - low) / ((high - low) or 1) * (end - start)

    def at(x, y):
        return place(x, x_range, LEFT, WIDTH - RIGHT), place(y, y_range, HEIGHT - BOTTOM, TOP)

    def text(x, y, content, anchor="middle", extra=""):
        return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}"{extra}>{html.escape(content)}</text>'

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        text(WIDTH / 2, 22, title, extra=' font-size="15"'),
        text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_name),
        text(16, HEIGHT / 2, y_name, extra=f' transform="rotate(-90 16 {HEIGHT / 2:.0f})"'),
    ]
    for tick in ticks(*y_range):
        _, y = at(x_range[0], tick)
        out.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#dddddd"/>')
        out.append(text(LEFT - 6, y + 4, short(tick), "end"))
    for tick in sorted(set(xs)):
        out.append(text(at(tick, y_range[0])[0], HEIGHT - BOTTOM + 18, short(tick)))
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        places = [at(*point) for point in sorted(line)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        y = TOP + 10 + 18 * number
        out.append(f'<rect x="{WIDTH - RIGHT + 12}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        out.append(text(WIDTH - RIGHT + 28, y, name, "start"))
    return "\n".join([*out, "</svg>"]) + "\n"
