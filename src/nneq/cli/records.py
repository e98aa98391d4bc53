"""Results as plain data: the schemas of ``--json`` (docs/cli.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nneq.cli.words import advice

if TYPE_CHECKING:
    from nneq.boundary.pwl.forms import BoundaryPiece
    from nneq.boundary.results import (
        Box,
        Certificate,
        Curve,
        PiecewiseBoundary,
        Solutions,
        Status,
        Surface,
    )

__all__ = ["curve_record", "regions_record", "solutions_record", "surface_record"]


def _certificate(found: Certificate) -> dict[str, Any]:
    record: dict[str, Any] = {"kind": type(found).__name__.lower(), "detail": found.detail}
    for name in ("precision", "residual"):
        if hasattr(found, name):
            record[name] = getattr(found, name)
    return record


def _status(status: Status) -> dict[str, str]:
    return {"code": status.name.lower(), "message": advice(status.value)}


def _box(box: Box) -> list[list[float]]:
    return [[low, high] for low, high in zip(box.low, box.high, strict=True)]


def solutions_record(found: Solutions) -> dict[str, Any]:
    """Return all solutions on a line."""
    return {
        "variable": found.variable,
        "at": dict(found.at),
        "domain": list(found.domain),
        "roots": [
            {
                "value": root.value,
                "lower": root.lower,
                "upper": root.upper,
                "exact": root.exact,
                "crossing": root.crossing,
                "certificate": _certificate(root.certificate),
            }
            for root in found
        ],
        "complete": found.complete,
        "undecided": [list(pair) for pair in found.undecided],
        "identical": [list(pair) for pair in found.identical],
        "status": _status(found.status),
    }


def curve_record(found: Curve) -> dict[str, Any]:
    """Return a curve in a plane."""
    return {
        "names": list(found.names),
        "box": _box(found.box),
        "components": [
            {
                "closed": component.closed,
                "length": component.length,
                "points": component.points,
                "segments": [
                    {"start": part.start, "end": part.end, "coefficients": part.coefficients}
                    for part in component.segments
                ],
            }
            for component in found.components
        ],
        "length": found.length,
        "complete": found.complete,
        "undecided": [_box(box) for box in found.undecided],
        "ties": list(found.ties),
        "certificate": _certificate(found.certificate),
        "status": _status(found.status),
        "words": advice(found.words),
    }


def surface_record(found: Surface) -> dict[str, Any]:
    """Return a surface in space."""
    return {
        "names": list(found.names),
        "box": _box(found.box),
        "vertices": found.vertices,
        "faces": found.faces,
        "complete": found.complete,
        "undecided": [_box(box) for box in found.undecided],
        "ties": list(found.ties),
        "isolated": list(found.isolated),
        "certificate": _certificate(found.certificate),
        "status": _status(found.status),
        "words": advice(found.words),
    }


def _piece(piece: BoundaryPiece) -> dict[str, Any]:
    return {
        "equation": piece.text(),
        "coefficients": piece.coefficients,
        "exact": piece.exact,
        "vertices": piece.vertices,
        "region": piece.region,
    }


def regions_record(found: PiecewiseBoundary) -> dict[str, Any]:
    """Return the linear regions of a box and the pieces of the boundary."""
    return {
        "names": list(found.names),
        "box": _box(found.box),
        "region_count": len(found.regions),
        "regions": [
            {"vertices": region.vertices, "W": region.W, "b": region.b} for region in found.regions
        ],
        "pieces": [_piece(piece) for piece in found.pieces],
        "ties": [region.vertices for region in found.ties],
        "isolated": list(found.isolated),
        "complete": found.complete,
        "undecided": [_box(box) for box in found.undecided],
        "certificate": _certificate(found.certificate),
        "status": _status(found.status),
    }
