"""A chart of latency against size, as SVG: both axes logarithmic, a line a kind."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import log10

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 900, 640, 60, 260, 30, 50
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f")
_FONT = 'font-family="sans-serif" font-size="11"'
_GOAL_MS = 25.0


def draw(p95_by_kind: Mapping[str, Sequence[float | None]], sizes: Sequence[int]) -> str:
    """Return the SVG; the dashed line is the goal of 25 ms."""
    values = [value for series in p95_by_kind.values() for value in series if value]
    top = max([*values, _GOAL_MS * 1.5])
    bottom = min([*values, 1.0])
    scale = _Scale(sizes, bottom, top)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {_FONT}>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="18" font-size="13">95th percentile of a search in ms, one client, by instances</text>',
        *_axes(scale, sizes, bottom, top),
        *_lines(p95_by_kind, scale, sizes),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


class _Scale:
    def __init__(self, sizes: Sequence[int], bottom: float, top: float) -> None:
        self._first, self._last = log10(min(sizes)), log10(max(sizes))
        self._bottom, self._top = log10(bottom), log10(top)

    def x(self, size: int) -> float:
        span = self._last - self._first or 1.0
        return _LEFT + (log10(size) - self._first) / span * (_WIDTH - _LEFT - _RIGHT)

    def y(self, milliseconds: float) -> float:
        share = (log10(milliseconds) - self._bottom) / (self._top - self._bottom)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _axes(scale: _Scale, sizes: Sequence[int], bottom: float, top: float) -> Iterator[str]:
    right = _WIDTH - _RIGHT
    for value in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000):
        if bottom <= value <= top:
            y = scale.y(value)
            yield f'<line x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
            yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value}</text>'
    goal = scale.y(_GOAL_MS)
    yield f'<line x1="{_LEFT}" x2="{right}" y1="{goal:.1f}" y2="{goal:.1f}" stroke="#000" stroke-dasharray="5 4"/>'
    for size in sizes:
        yield f'<text x="{scale.x(size):.1f}" y="{_HEIGHT - _BOTTOM + 20}" text-anchor="middle">{size:,}</text>'


def _lines(p95_by_kind: Mapping[str, Sequence[float | None]], scale: _Scale, sizes: Sequence[int]) -> Iterator[str]:
    known = {kind: [(s, v) for s, v in zip(sizes, series, strict=True) if v] for kind, series in p95_by_kind.items()}
    ordered = sorted((kind for kind in known if known[kind]), key=lambda kind: -known[kind][-1][1])
    below = float(_TOP)
    for number, kind in enumerate(ordered):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(f"{scale.x(size):.1f},{scale.y(value):.1f}" for size, value in known[kind])
        yield f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        size, value = known[kind][-1]
        # Names stand below each other, at the height of their line where there is room.
        below = max(below + 12, scale.y(value))
        right = _WIDTH - _RIGHT
        ends = f'x1="{scale.x(size):.1f}" x2="{right + 18}" y1="{scale.y(value):.1f}" y2="{below - 4:.1f}"'
        yield f'<line {ends} stroke="{colour}" stroke-width="0.5"/>'
        yield f'<text x="{right + 22}" y="{below:.1f}" fill="{colour}">{escape(kind)} {value:.1f}</text>'
