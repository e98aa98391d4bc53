"""Matrix products and Einstein sums."""

from __future__ import annotations

import string

import numpy as np

from nneq.adapters.onnx.call import Call, operator, retyped, wide
from nneq.adapters.onnx.limits import MAX_CONSTANT, MAX_LIVE, check_size
from nneq.errors import NneqError
from nneq.lowering import Builder, Value

__all__ = []


def _check_matmul(call: Call, a: Value, b: Value) -> None:
    if not a.shape or not b.shape:
        msg = "a matrix product of a number"
        raise NneqError(msg)
    rows = a.shape[:-1] if len(a.shape) > 1 else ()
    inner = b.shape[-2] if len(b.shape) > 1 else b.shape[0]
    if a.shape[-1] != inner:
        msg = f"shapes {a.shape} and {b.shape} do not fit in a matrix product"
        raise NneqError(msg)
    try:
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        msg = f"shapes {a.shape} and {b.shape} do not broadcast in a matrix product"
        raise NneqError(msg) from None
    columns = b.shape[-1:] if len(b.shape) > 1 else ()
    call.shape((*lead, *rows[-1:], *columns), a, b)


@operator("MatMul")
def matmul(call: Call) -> Value:
    """``a @ b`` as NumPy has it."""
    a, b = call.input(0), call.input(1)
    _check_matmul(call, a, b)
    kind = np.result_type(a.dtype, b.dtype)
    if a.array is not None and b.array is not None:
        a, b = wide(a), wide(b)
        return call.builder.constant(np.matmul(np.asarray(a.array), np.asarray(b.array)))
    return retyped(call.builder.matmul(a, b), kind)


@operator("Gemm")
def gemm(call: Call) -> Value:
    """``alpha A B + beta C`` with either matrix transposed."""
    build = call.builder
    a, b, c = call.input(0), call.input(1), call.optional(2)
    if len(a.shape) != 2 or len(b.shape) != 2:
        msg = f"Gemm takes two matrices, got shapes {a.shape} and {b.shape}"
        raise NneqError(msg)
    a = build.permute(a, (1, 0)) if call.attribute("transA") else a
    b = build.permute(b, (1, 0)) if call.attribute("transB") else b
    _check_matmul(call, a, b)
    alpha, beta = float(call.attribute("alpha")), float(call.attribute("beta"))
    if a.array is not None and b.array is not None:
        a, b = wide(a), wide(b)
    out = build.matmul(a, b)
    if alpha != 1.0:
        out = build.scale(out, np.array(alpha))
    if c is not None and beta != 0.0:
        shift = c if beta == 1.0 else build.scale(wide(c), np.array(beta))
        try:
            fits = np.broadcast_shapes(out.shape, shift.shape) == out.shape
        except ValueError:
            fits = False
        if not fits:
            msg = f"C of shape {c.shape} does not fit {out.shape}"
            raise NneqError(msg)
        out = build.add(out, shift)
    kind = np.result_type(a.dtype, b.dtype)
    return out if out.array is not None else retyped(out, kind)


@operator("Einsum")
def einsum(call: Call) -> Value:
    """An Einstein sum of any number of operands."""
    build = call.builder
    values = [wide(value) for value in call.operands()]
    text = str(call.attribute("equation")).replace(" ", "")
    terms, result = _parsed(text, [len(value.shape) for value in values])
    _check_extents(terms, values)
    pairs = [_diagonal(build, v, t) for v, t in zip(values, terms, strict=True)]
    value, letters = pairs[0]
    for k, (other, names) in enumerate(pairs[1:], start=1):
        later = set(result).union(*(set(t) for _, t in pairs[k + 1 :]))
        both = dict.fromkeys([*letters, *names])
        kept = "".join(le for le in both if le in later)
        value, letters = _contracted(build, value, letters, other, names, kept)
    gone = [k for k, letter in enumerate(letters) if letter not in result]
    if gone:
        value = build.sum(value, gone)
        letters = "".join(le for le in letters if le in result)
    kind = call.input(0).dtype
    out = build.permute(value, [letters.index(le) for le in result]) if letters else value
    return out if out.array is not None else retyped(out, kind)


def _check_extents(terms: list[str], values: list[Value]) -> None:
    sizes: dict[str, int] = {}
    for letters, value in zip(terms, values, strict=True):
        for letter, size in zip(letters, value.shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                msg = f"index {letter!r} has the extents {sizes[letter]} and {size}"
                raise NneqError(msg)


def _parsed(text: str, ranks: list[int]) -> tuple[list[str], str]:
    """Return the index letters of every operand and of the result; an ellipsis gets letters."""
    left, arrow, right = text.partition("->")
    parts = left.split(",")
    allowed = set(string.ascii_letters) | {"."}
    if len(parts) != len(ranks) or not set(left.replace(",", "") + right) <= allowed:
        msg = f"the equation {text[:80]!r} does not fit {len(ranks)} operands"
        raise NneqError(msg)
    free = [le for le in string.ascii_letters if le not in text]
    spans = [
        rank - len(part.replace("...", "")) if "..." in part else 0
        for part, rank in zip(parts, ranks, strict=True)
    ]
    most = max(spans, default=0)
    if min(spans, default=0) < 0 or most > len(free):
        msg = f"the equation {text[:80]!r} does not fit the operands' axes"
        raise NneqError(msg)
    dots = "".join(free[:most])
    terms = [
        part.replace("...", dots[most - span :] if span else "")
        for part, span in zip(parts, spans, strict=True)
    ]
    if any(len(t) != rank or "." in t for t, rank in zip(terms, ranks, strict=True)):
        msg = f"the equation {text[:80]!r} does not fit the operands' axes"
        raise NneqError(msg)
    if not arrow:
        joined = "".join(part.replace("...", "") for part in parts)
        right = "..." + "".join(sorted(le for le in set(joined) if joined.count(le) == 1))
    result = right.replace("...", dots)
    if len(set(result)) != len(result) or not set(result) <= set("".join(terms)):
        msg = f"the result of the equation {text[:80]!r} is not made by its operands"
        raise NneqError(msg)
    return terms, result


def _diagonal(b: Builder, x: Value, letters: str) -> tuple[Value, str]:
    """Take the diagonal where one operand repeats a letter."""
    unique = "".join(dict.fromkeys(letters))
    if unique == letters:
        return x, letters
    places = np.arange(x.size, dtype=np.int64).reshape(x.shape)
    return b.take(x, np.einsum(f"{letters}->{unique}", places)), unique


def _contracted(
    b: Builder, left: Value, first: str, right: Value, second: str, kept: str
) -> tuple[Value, str]:
    sizes = dict(zip(first, left.shape, strict=True)) | dict(zip(second, right.shape, strict=True))
    limit = MAX_CONSTANT if left.array is not None and right.array is not None else MAX_LIVE
    check_size([sizes[letter] for letter in kept], limit)
    return b.einsum(f"{first},{second}->{kept}", left, right), kept
