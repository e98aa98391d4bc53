"""Matrix products."""

from __future__ import annotations

import string

import numpy as np

from nneq.adapters.torch.registry import Call, lowers
from nneq.ir import linear_map as lm
from nneq.lowering.builder import Value

__all__: list[str] = []


@lowers("linear")
def _linear(c: Call) -> Value:
    x, weight = c.value("input"), c.value("weight")
    bias = c.optional("bias")
    fixed = weight.array is not None and (bias is None or bias.array is not None)
    if fixed and weight.array is not None and weight.array.ndim == 2 and x.array is None:
        dense = lm.Dense(weight.array, x.shape[:-1])
        return c.b.linear(x, dense, None if bias is None else bias.array)
    turned = weight if len(weight.shape) == 1 else c.b.permute(weight, (1, 0))
    out = c.b.matmul(x, turned)
    return out if bias is None else c.b.add(out, bias)


@lowers("matmul", "mm", "bmm", "mv", "dot")
def _matmul(c: Call) -> Value:
    names = list(c.arguments)
    return c.b.matmul(c.value(names[0]), c.value(names[1]))


@lowers("addmm", "baddbmm", "addmv", "addbmm", "addr")
def _addmm(c: Call) -> Value:
    first, second = (c.value(name) for name in list(c.arguments)[1:3])
    if c.op == "addr":
        first = c.b.reshape(first, (first.size, 1))
        second = c.b.reshape(second, (1, second.size))
    product = c.b.matmul(first, second)
    if c.op == "addbmm":
        product = c.b.sum(product, (0,))
    scaled = [
        v if factor == 1 else c.b.scale(v, np.array(float(factor)))
        for v, factor in ((product, c.get("alpha", 1)), (c.value("self"), c.get("beta", 1)))
    ]
    return scaled[0] if c.get("beta", 1) == 0 else c.b.add(*scaled)


@lowers("outer")
def _outer(c: Call) -> Value:
    first, second = (c.value(name) for name in list(c.arguments)[:2])
    column = c.b.reshape(first, (first.size, 1))
    return c.b.multiply(column, c.b.reshape(second, (1, second.size)))


@lowers("bilinear")
def _bilinear(c: Call) -> Value:
    first, second = c.value("input1"), c.value("input2")
    lead = string.ascii_lowercase[: len(first.shape) - 1]
    part = c.b.einsum(f"xyz,{lead}y->{lead}xz", c.value("weight"), first)
    out = c.b.einsum(f"{lead}xz,{lead}z->{lead}x", part, second)
    bias = c.optional("bias")
    return out if bias is None else c.b.add(out, bias)


@lowers("einsum")
def _einsum(c: Call) -> Value:
    """Return the contraction, two operands at a time from the left."""
    values = c.values("tensors")
    inputs, output = _letters(c, str(c["equation"]), values)
    current, letters = _diagonal(c, values[0], inputs[0])
    for place, (other, own) in enumerate(zip(values[1:], inputs[1:], strict=True), start=1):
        right, right_letters = _diagonal(c, other, own)
        later = set(output).union(*map(set, inputs[place + 1 :]))
        kept = "".join(dict.fromkeys(k for k in letters + right_letters if k in later))
        current, right = _agree(c, (current, letters), (right, right_letters))
        current = c.b.einsum(f"{letters},{right_letters}->{kept}", current, right)
        letters = kept
    drop = [k for k, letter in enumerate(letters) if letter not in output]
    if drop:
        current = c.b.sum(current, drop)
        letters = "".join(letter for letter in letters if letter in output)
    return c.b.permute(current, [letters.index(letter) for letter in output])


def _agree(c: Call, left: tuple[Value, str], right: tuple[Value, str]) -> tuple[Value, Value]:
    """Broadcast an axis of extent 1 against the same letter's extent in the other operand."""
    sizes: dict[str, int] = {}
    for value, letters in (left, right):
        for letter, size in zip(letters, value.shape, strict=True):
            sizes[letter] = max(size, sizes.get(letter, 1))
    first, second = (
        c.b.broadcast_to(value, tuple(sizes[k] for k in letters))
        for value, letters in (left, right)
    )
    return first, second


def _letters(c: Call, equation: str, values: list[Value]) -> tuple[list[str], str]:
    """Return the subscripts with the ellipsis written out, in lower-case letters."""
    text = equation.replace(" ", "")
    ins, arrow, out = text.partition("->")
    parts = ins.split(",")
    plain = sorted({k for k in ins + out if k.isalpha()})
    if len(plain) > 20:
        raise c.refuse("an einsum with more than 20 letters is not supported")
    renamed = dict(zip(plain, string.ascii_lowercase, strict=False))
    spare = string.ascii_lowercase[len(plain) :]
    most = 0
    found = []
    for part, value in zip(parts, values, strict=True):
        count = len(value.shape) - len(part.replace("...", ""))
        most = max(most, count)
        dots = spare[:count][::-1]
        found.append(
            "".join(renamed.get(k, k) for k in part.replace("...", "|")).replace("|", dots)
        )
    if arrow:
        target = "".join(renamed.get(k, k) for k in out.replace("...", "|"))
        return found, target.replace("|", spare[:most][::-1])
    singles = [k for k in plain if ins.count(k) == 1]
    return found, spare[:most][::-1] + "".join(renamed[k] for k in singles)


def _diagonal(c: Call, x: Value, letters: str) -> tuple[Value, str]:
    """Return the operand with every repeated letter reduced to its diagonal."""
    unique = "".join(dict.fromkeys(letters))
    if unique == letters:
        return x, letters
    places = np.arange(x.size, dtype=np.int64).reshape(x.shape)
    return c.b.take(
        x,
        np.einsum(
            places, [ord(k) for k in map(_small, letters)], [ord(k) for k in map(_small, unique)]
        ),
    ), unique


def _small(letter: str) -> str:
    return chr(ord(letter) - ord("a"))
