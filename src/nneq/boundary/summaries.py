"""What an answer says, as a few lines of text: the first line alone is its ``repr``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nneq.boundary import results as r

__all__ = ["summary"]

_LISTED = 10


def summary(answer: Any) -> list[str]:
    """Return the lines that describe an answer of an engine."""
    match answer:
        case r.Solutions():
            lines = _solutions(answer)
        case r.Curve():
            lines = _curve(answer)
        case r.Surface():
            lines = _surface(answer)
        case r.PiecewiseBoundary():
            lines = _regions(answer)
        case r.Nearest():
            lines = _nearest(answer)
        case r.Verdict():
            lines = _verdict(answer)
        case r.Graph():
            lines = _graph(answer)
        case r.DecisionMap():
            lines = _map(answer)
        case _:
            msg = f"no summary of {type(answer).__name__}"
            raise TypeError(msg)
    if answer.status.value:
        lines.append(f"  {answer.status.value}")
    return lines


def _number(value: float) -> str:
    return f"{value:.10g}"


def _point(values: Sequence[float] | Any) -> str:
    numbers = [_number(float(v)) for v in values]
    if len(numbers) > _LISTED:
        numbers = [*numbers[:_LISTED], f"... {len(numbers)} entries"]
    return f"({', '.join(numbers)})"


def _interval(low: float, high: float) -> str:
    left, right = "(" if np.isinf(low) else "[", ")" if np.isinf(high) else "]"
    return f"{left}{_number(low)}, {_number(high)}{right}"


def _box(names: Sequence[str], box: r.Box) -> str:
    parts = [
        f"{name} in {_interval(*ends)}"
        for name, *ends in zip(names, box.low, box.high, strict=False)
    ]
    return ", ".join(parts[:6]) + (f", ... {len(parts)} inputs" if len(parts) > 6 else "")


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _done(answer: Any) -> str:
    return "complete" if answer.complete else "not complete"


def _more(lines: list[str], total: int) -> list[str]:
    rest = total - len(lines)
    return [*lines, f"  ... and {rest:,} more"] if rest > 0 else lines


def _solutions(found: r.Solutions) -> list[str]:
    fixed = "".join(f", {name} = {_number(v)}" for name, v in list(found.at.items())[:6])
    searched = f"{found.variable} in {_interval(*found.domain)}{fixed}"
    lines = [f"{searched}: {_count(len(found), 'solution')}, {_done(found)}"]
    roots = [f"  {found.variable} = {_root(root)}" for root in found.roots[:_LISTED]]
    lines += _more(roots, len(found))
    for word, ends in (("equal everywhere on", found.identical), ("undecided:", found.undecided)):
        lines += _more([f"  {word} {_interval(*end)}" for end in ends[:_LISTED]], len(ends))
    return lines


def _root(root: r.Root) -> str:
    if root.exact is None:
        return f"{root.value!r} ({root.crossing}), enclosure {root.upper - root.lower:.1e} wide"
    short = root.exact.denominator < 10**6
    value = f"{root.exact}" if short else f"{root.value!r}, a fraction in .exact"
    return f"{value} ({root.crossing}), exact"


def _undecided(answer: Any) -> list[str]:
    count = len(answer.undecided)
    return [f"  {_count(count, 'undecided box', 'undecided boxes')}"] if count else []


def _curve(curve: r.Curve) -> list[str]:
    parts = curve.components
    closed = sum(part.closed for part in parts)
    counts = f"{_count(len(parts), 'component')} ({closed:,} closed)"
    size = f"length {_number(curve.length)}"
    lines = [f"curve in {_box(curve.names, curve.box)}: {counts}, {size}, {_done(curve)}"]
    shown = []
    for part in parts[:_LISTED]:
        ends = "closed" if part.closed else f"{_point(part.points[0])} to {_point(part.points[-1])}"
        pieces = (
            _count(len(part.segments), "segment")
            if part.segments
            else _count(len(part.points), "vertex", "vertices")
        )
        shown.append(f"  {ends}, {pieces}, length {_number(part.length)}")
    lines += _more(shown, len(parts))
    if curve.ties:
        lines.append(f"  {_count(len(curve.ties), 'area')} with equal outputs")
    return lines + _undecided(curve)


def _surface(surface: r.Surface) -> list[str]:
    vertices = _count(len(surface.vertices), "vertex", "vertices")
    size = f"{vertices}, {_count(len(surface.faces), 'triangle')}"
    lines = [f"surface in {_box(surface.names, surface.box)}: {size}, {_done(surface)}"]
    if surface.polygons:
        lines.append(f"  {_count(len(surface.polygons), 'exact facet')}")
    if surface.ties:
        lines.append(f"  {_count(len(surface.ties), 'region')} with equal outputs")
    if surface.isolated:
        lines.append(f"  isolated points and edges: {len(surface.isolated):,}")
    return lines + _undecided(surface)


def _regions(found: r.PiecewiseBoundary) -> list[str]:
    counts = [_count(len(found.regions), "linear region"), _count(len(found.pieces), "piece")]
    if found.ties:
        counts.append(_count(len(found.ties), "region") + " with equal outputs")
    counts.append(_done(found))
    lines = [f"regions in {_box(found.names, found.box)}: {', '.join(counts)}"]
    lines += _more([f"  {piece}" for piece in found.pieces[:_LISTED]], len(found.pieces))
    return lines + _undecided(found)


def _nearest(found: r.Nearest) -> list[str]:
    bound = f"no boundary point is nearer than {_number(found.lower_bound)}"
    if found.point is None:
        return [f"no boundary point found ({found.norm}); {bound}"]
    where = f"boundary point at {found.norm} distance {_number(found.distance)}; {bound}"
    return [where, f"  {_point(found.point)}"]


def _verdict(verdict: r.Verdict) -> list[str]:
    if verdict.excluded:
        sign = {1: "positive", -1: "negative"}.get(verdict.sign, "not 0")
        return [f"excluded: the difference is {sign} on the whole box"]
    if verdict.witness is not None:
        return [f"not excluded: the outputs are equal at {_point(verdict.witness)}"]
    return ["undecided", *_undecided(verdict)]


def _graph(graph: r.Graph) -> list[str]:
    count = _count(len(graph.boxes), "box", "boxes")
    return [
        f"{graph.variable} as a function of the other inputs on {count}, {_done(graph)}",
        *_undecided(graph),
    ]


def _map(found: r.DecisionMap) -> list[str]:
    counts = [
        _count(len(found.regions), "class", "classes"),
        _count(len(found.curves), "curve"),
        _count(len(found.junctions), "junction"),
        _done(found),
    ]
    lines = [f"decisions in {_box(found.names, found.box)}: {', '.join(counts)}"]
    sides = np.subtract(found.box.high, found.box.low)
    whole = float(np.prod(sides[:2])) if len(sides) == 2 else 0.0
    for region in found.regions[:_LISTED]:
        share = f" ({region.area / whole:.1%} of the box)" if whole > 0 else ""
        lines.append(f"  {region.output} is largest on an area of {_number(region.area)}{share}")
    lines += _more(
        [
            f"  {', '.join(map(str, j.outputs))} tie at {_point(j.point)}"
            for j in found.junctions[:_LISTED]
        ],
        len(found.junctions),
    )
    return lines + _undecided(found)
