"""Lines on logarithmic axes, or from 0 to 1, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 420, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 34, 34, 46
_COLOURS = ("#1f5fa8", "#c0561b", "#4a7a3a")
_DASHES = ("", "6 3", "2 3")
_INK, _GRID = "#333333", "#dddddd"


@dataclass(frozen=True, slots=True)
class Line:
    """A named line through points (x, y), all above 0 on logarithmic axes."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes and the lines on it."""

    title: str
    x_label: str
    y_label: str
    lines: Sequence[Line]
    from_0_to_1: bool = False


@dataclass(frozen=True, slots=True)
class _Shares:
    """Values from 0 to 1 -> places."""

    start: float
    """Where 0 stands, in pixels."""
    end: float

    def place(self, value: float) -> float:
        return self.start + (self.end - self.start) * value

    def ticks(self) -> list[float]:
        return [tenth / 10 for tenth in range(0, 11, 2)]


@dataclass(frozen=True, slots=True)
class _Axis:
    """Values -> places, from a whole power of ten to another."""

    low: int
    high: int
    start: float
    """Where 10**low stands, in pixels."""
    end: float

    @classmethod
    def over(cls, values: Sequence[float], start: float, end: float) -> _Axis:
        low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
        return cls(low, max(high, low + 1), start, end)

    def place(self, value: float) -> float:
        return self.start + (self.end - self.start) * (math.log10(value) - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        return [10.0**power for power in range(self.low, self.high + 1)]


def draw(panels: Sequence[Panel]) -> str:
    """The panels side by side. Each point has its values as a tooltip."""
    width = _WIDTH * len(panels)
    drawn = "\n".join(part for n, panel in enumerate(panels) for part in _panel(panel, n * _WIDTH))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT}" width="{width}" height="{_HEIGHT}" '
        f'font-family="sans-serif" font-size="11" fill="{_INK}" role="img">\n'
        f"<title>{escape('; '.join(panel.title for panel in panels))}</title>\n"
        f'<rect width="100%" height="100%" fill="white"/>\n{drawn}\n</svg>\n'
    )


def _panel(panel: Panel, left: float) -> Iterator[str]:
    points = [point for line in panel.lines for point in line.points]
    across, up = (left + _LEFT, left + _WIDTH - _RIGHT), (_HEIGHT - _BOTTOM, _TOP)
    x_axis = _Shares(*across) if panel.from_0_to_1 else _Axis.over([x for x, _ in points], *across)
    y_axis = _Shares(*up) if panel.from_0_to_1 else _Axis.over([y for _, y in points], *up)
    middle, height = (x_axis.start + x_axis.end) / 2, (y_axis.start + y_axis.end) / 2
    yield _text(middle, 18, panel.title, 'font-weight="bold"')
    yield _text(middle, _HEIGHT - 8, panel.x_label)
    yield _text(left + 14, height, panel.y_label, f'transform="rotate(-90 {left + 14:.1f} {height:.1f})"')
    for value in x_axis.ticks():
        x = x_axis.place(value)
        yield f'<path d="M{x:.1f} {y_axis.start:.1f}V{y_axis.end:.1f}" stroke="{_GRID}"/>'
        yield _text(x, y_axis.start + 16, f"{value:,.10g}")
    for value in y_axis.ticks():
        y = y_axis.place(value)
        yield f'<path d="M{x_axis.start:.1f} {y:.1f}H{x_axis.end:.1f}" stroke="{_GRID}"/>'
        yield _text(x_axis.start - 6, y + 4, f"{value:,.10g}", 'text-anchor="end"')
    for n, line in enumerate(panel.lines):
        colour = _COLOURS[n % len(_COLOURS)]
        places = [(x_axis.place(x), y_axis.place(y)) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        stroke = f'stroke="{colour}" stroke-width="2" stroke-dasharray="{_DASHES[n % len(_DASHES)]}"'
        yield f'<polyline points="{path}" fill="none" {stroke}/>'
        for (x, y), (given_x, given_y) in zip(places, line.points, strict=True):
            shown_x = f"{given_x:.2f}" if panel.from_0_to_1 else f"{given_x:,.0f}"
            label = escape(f"{line.name}: {shown_x}, {float(f'{given_y:.3g}'):,.10g}")
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"><title>{label}</title></circle>'
        y = _TOP + 14 + 15 * n
        yield f'<path d="M{x_axis.start + 10:.1f} {y - 4:.1f}h22" {stroke}/>'
        yield _text(x_axis.start + 38, y, line.name, 'text-anchor="start"')


def _text(x: float, y: float, text: str, attributes: str = "") -> str:
    anchor = "" if "text-anchor" in attributes else 'text-anchor="middle" '
    return f'<text x="{x:.1f}" y="{y:.1f}" {anchor}{attributes}>{escape(text)}</text>'
