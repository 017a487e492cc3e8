"""The picture of `scripts/soak`: panels below each other over one axis of time, as SVG, for light and dark pages."""

import html

WIDTH, LEFT, RIGHT, TOP, PANEL, GAP = 960, 64, 16, 56, 120, 34
POINTS = 800

STYLE = """
  svg { --ink: #1f2328; --soft: #59636e; --grid: #d1d9e0; --back: #ffffff; --a: #0969da; --b: #bc4c00; --mark: #cf222e; }
  @media (prefers-color-scheme: dark) {
    svg { --ink: #e6edf3; --soft: #9198a1; --grid: #3d444d; --back: #0d1117; --a: #58a6ff; --b: #f0883e; --mark: #ff7b72; }
  }
  text { font: 12px system-ui, sans-serif; fill: var(--ink); }
  .soft { fill: var(--soft); font-size: 11px; }
  .title { font-size: 15px; font-weight: 600; }
  .grid { stroke: var(--grid); stroke-width: 1; }
  .a, .b { fill: none; stroke-width: 1.4; stroke-linejoin: round; }
  .a { stroke: var(--a); } .b { stroke: var(--b); }
  .ta { fill: var(--a); } .tb { fill: var(--b); }
  .mark { stroke: var(--mark); stroke-width: 1; stroke-dasharray: 2 3; }
  .span { fill: var(--mark); opacity: 0.15; }
  .letter { fill: var(--mark); font-size: 11px; font-weight: 600; }
"""


def nice(top):
    """A round number of at least `top`, and a step that divides it into a few."""
    step = 1.0
    while step * 5 < top:
        for factor in (2, 2.5, 2):
            step *= factor
            if step * 5 >= top:
                break
    while step >= 2 and step * 2.5 > top:
        step /= 2
    lines = max(1, -int(-top // step))
    return step * lines, step


def number(value):
    return f"{value:.0f}" if value == int(value) else f"{value:g}"


def paths(points, x, y):
    """A line for each run of values without a gap, with at most POINTS points: the highest of its neighbours."""
    each = max(1, len(points) // POINTS)
    runs, run = [], []
    for at in range(0, len(points), each):
        part = [(time, value) for time, value in points[at : at + each] if value is not None]
        if not part:
            runs.append(run)
            run = []
            continue
        time, value = max(part, key=lambda point: point[1])
        run.append(f"{x(time):.1f},{y(value):.1f}")
    runs.append(run)
    return [run for run in runs if run]


def plot(title, seconds, panels, events, legend):
    """`panels`: (what, [(name, [(time, value or None)])]), one or two lines each; `events`: (begin, end, letter)."""
    height = TOP + len(panels) * (PANEL + GAP) + 24 + 16 * (1 + len(legend) // 5)
    x = lambda time: LEFT + (WIDTH - LEFT - RIGHT) * time / seconds
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{html.escape(title)}</title><style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="var(--back)"/>',
        f'<text class="title" x="{LEFT}" y="22">{html.escape(title)}</text>',
    ]
    bottom = TOP + len(panels) * (PANEL + GAP) - GAP
    for begin, end, letter in events:
        if end - begin >= 1:
            width = max(1, x(end) - x(begin))
            out.append(f'<rect class="span" x="{x(begin):.1f}" y="{TOP}" width="{width:.1f}" height="{bottom - TOP}"/>')
        out.append(f'<line class="mark" x1="{x(begin):.1f}" x2="{x(begin):.1f}" y1="{TOP}" y2="{bottom}"/>')
        out.append(f'<text class="letter" text-anchor="middle" x="{x(begin):.1f}" y="{TOP - 6}">{html.escape(letter)}</text>')
    for index, (what, lines) in enumerate(panels):
        above = TOP + index * (PANEL + GAP)
        values = [value for _, points in lines for _, value in points if value is not None]
        top, step = nice(max(values, default=1) or 1)
        y = lambda value: above + PANEL - PANEL * value / top
        tick = 0.0
        while tick <= top + step / 2:
            out.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
            out.append(f'<text class="soft" x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{number(tick)}</text>')
            tick += step
        out.append(f'<text x="{LEFT}" y="{above - 18 if index == 0 else above - 8}">{html.escape(what)}</text>')
        for line, (name, points) in enumerate(lines):
            kind = "ab"[line]
            for run in paths(points, x, y):
                out.append(f'<polyline class="{kind}" points="{" ".join(run)}"/>')
            if name:
                at = WIDTH - RIGHT - 150 * (len(lines) - 1 - line)
                out.append(
                    f'<text class="t{kind}" x="{at}" y="{above - 18 if index == 0 else above - 8}" '
                    f'text-anchor="end">{html.escape(name)}</text>'
                )
    minutes = seconds >= 600
    step = next(s for s in (10, 20, 60, 120, 300, 600, 1200, 3600) if seconds / s <= 12)
    for time in range(0, int(seconds) + 1, step):
        shown = time // 60 if minutes else time
        out.append(f'<text class="soft" x="{x(time):.1f}" y="{bottom + 16}" text-anchor="middle">{shown}</text>')
    unit = "minutes" if minutes else "seconds"
    out.append(f'<text class="soft" x="{WIDTH - RIGHT}" y="{bottom + 32}" text-anchor="end">{unit}</text>')
    for index, (letter, meaning) in enumerate(legend):
        column, row = index % 5, index // 5
        at, down = LEFT + column * 172, bottom + 36 + row * 16
        out.append(f'<text class="soft" x="{at}" y="{down}"><tspan class="letter">{letter}</tspan>  {html.escape(meaning)}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"
