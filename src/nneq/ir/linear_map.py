r"""Matrix-free linear maps :math:`y = L x` between tensors.

A map is frozen data: it knows its shapes and its weights and never builds the matrix of a
convolution.  ``apply`` runs it on a batch ``x`` of shape ``(S, *in_shape)``; the first axis is the
sample axis of the *evaluation* and is never part of a map's own shapes.  The element type is free:
``lift`` turns stored weights into numbers of another arithmetic (fractions, balls, symbols), and
NumPy's object arrays do the rest.

``apply_abs`` is :math:`|L| x`, the map that carries radii and rounding errors; ``fan_in`` is the
largest number of products summed into one output entry (0 when the map only moves numbers, so that
no rounding can happen).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nneq.errors import UnsupportedError

__all__ = [
    "Broadcast",
    "Chain",
    "Contract",
    "Conv",
    "ConvTranspose",
    "Dense",
    "Identity",
    "LinearMap",
    "Permute",
    "Place",
    "Reshape",
    "Scale",
    "Scatter",
    "Slice",
    "Sum",
    "Take",
    "chain",
]

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
Lift = Callable[[Array], Array]

_CACHED_WEIGHTS = 1 << 17
_BLOCK = 1 << 22
# Products summed by one matrix product of a convolution: short sums have small rounding errors.
_SUMMANDS = 48
_DENSE_LIMIT = 1 << 26


class LinearMap:
    """A linear map between tensors; abstract: every concrete map is final."""

    in_shape: Shape
    out_shape: Shape

    @property
    def fan_in(self) -> int:
        """The largest number of products summed into one output entry; 0: exact moves only."""
        return 0

    @property
    def depth(self) -> int:
        """The most roundings that a product meets in ``apply``; at most about ``fan_in``."""
        return self.fan_in

    @property
    def parameters(self) -> tuple[Array, ...]:
        """The stored weight arrays, in their stored precision."""
        return ()

    def apply(self, x: Array, lift: Lift | None = None) -> Array:
        """Return ``L x`` for a batch ``(S, *in_shape)``; float64 unless ``lift`` is given."""
        raise NotImplementedError

    def apply_abs(self, x: Array) -> Array:
        """Return ``|L| x`` (entrywise absolute weights) for a float64 batch."""
        return self.apply(x, _absolute)

    def transpose(self) -> LinearMap:
        """Return the adjoint map."""
        raise NotImplementedError

    def stages(self) -> tuple[LinearMap, ...]:
        """Return the primitive maps in order of application."""
        return (self,)

    def keep(self) -> None:
        """Prepare for being applied in a loop; a map without weights has nothing to prepare."""

    @property
    def in_size(self) -> int:
        """The number of entries of one input sample."""
        return math.prod(self.in_shape)

    @property
    def out_size(self) -> int:
        """The number of entries of one output sample."""
        return math.prod(self.out_shape)

    def dense(self) -> Array:
        """Return the matrix ``(out_size, in_size)`` in float64; refused above 2**26 entries."""
        if self.in_size * self.out_size > _DENSE_LIMIT:
            msg = (
                f"the matrix of this map would have {self.out_size} x {self.in_size} entries; "
                "use apply(), or matrix_form(), which keeps it matrix-free"
            )
            raise UnsupportedError(msg)
        eye = np.eye(self.in_size).reshape(self.in_size, *self.in_shape)
        return self.apply(eye).reshape(self.in_size, self.out_size).T


def _absolute(weight: Array) -> Array:
    return np.abs(weight.astype(np.float64, copy=False))


def _float64(weight: Array) -> Array:
    return weight.astype(np.float64, copy=False)


class _Weighted(LinearMap):
    """A map with one weight array, read in float64 through a cache while it is small."""

    weight: Array

    @property
    def parameters(self) -> tuple[Array, ...]:
        return (self.weight,)

    @cached_property
    def _weight64(self) -> Array:
        return self.weight.astype(np.float64, copy=False)

    @cached_property
    def _weight_abs(self) -> Array:
        return _absolute(self.weight)

    def keep(self) -> None:
        """Hold the weights and their absolute values in float64: for maps applied in a loop."""
        self._weight64, self._weight_abs  # noqa: B018  # cached by being read

    def _lifted(self, lift: Lift | None) -> Array:
        small = self.weight.size <= _CACHED_WEIGHTS or "_weight_abs" in self.__dict__
        if lift is None:
            return self._weight64 if small else self.weight.astype(np.float64, copy=False)
        if lift is _absolute and small:
            return self._weight_abs
        return lift(self.weight)


@dataclass(frozen=True, eq=False)
class Identity(LinearMap):
    """``y = x``."""

    in_shape: Shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]  # a field of every map, derived here
        """The same shape."""
        return self.in_shape

    def apply(self, x: Array, lift: Lift | None = None) -> Array:  # noqa: ARG002  # moves only
        """Return ``x``."""
        return x

    def transpose(self) -> LinearMap:
        """Return the map itself."""
        return self


@dataclass(frozen=True, eq=False)
class Dense(_Weighted):
    """``y[..., o] = sum_i weight[o, i] x[..., i]``; ``weight`` is ``(n_out, n_in)``."""

    weight: Array
    lead: Shape = ()

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]  # derived
        """``(*lead, n_in)``."""
        return (*self.lead, self.weight.shape[1])

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]  # derived
        """``(*lead, n_out)``."""
        return (*self.lead, self.weight.shape[0])

    @property
    def fan_in(self) -> int:
        """``n_in``."""
        found: int = self.weight.shape[1]
        return found

    def apply(self, x: Array, lift: Lift | None = None) -> Array:
        """Return ``x W^T`` on the last axis."""
        flat = x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
        if self.weight.size > _BLOCK and (lift is None or lift is _absolute):
            out = self._by_blocks(flat, lift or _float64)
        else:
            out = np.asarray(flat @ self._lifted(lift).T)
        return out.reshape(x.shape[0], *self.out_shape)

    def _by_blocks(self, flat: Array, lift: Lift) -> Array:
        """Return ``flat W^T`` without a whole float64 copy of a large stored matrix."""
        rows = max(1, _BLOCK // max(1, self.weight.shape[1]))
        out = np.empty((flat.shape[0], self.weight.shape[0]), dtype=np.result_type(flat, 1.0))
        for start in range(0, self.weight.shape[0], rows):
            out[:, start : start + rows] = flat @ lift(self.weight[start : start + rows]).T
        return out

    def transpose(self) -> LinearMap:
        """Return the map with the transposed weight (a view)."""
        return Dense(self.weight.T, self.lead)


@dataclass(frozen=True, eq=False)
class Contract(_Weighted):
    """``y = einsum("w,x->y", weight, x)``: a constant contracted with one live tensor.

    Args:
        weight: the constant.
        subscripts: ``"w,x->y"`` in lower-case letters; every letter of ``x`` stands in ``w`` or in
            ``y`` and none twice in one operand, so that the adjoint is a ``Contract`` too.
        in_shape: shape of ``x`` without the sample axis.
    """

    weight: Array
    subscripts: str
    in_shape: Shape

    @cached_property
    def _parts(self) -> tuple[str, str, str]:
        operands, out = self.subscripts.split("->")
        w, x = operands.split(",")
        return w, x, out

    @cached_property
    def _sizes(self) -> dict[str, int]:
        w, x, _ = self._parts
        sizes = dict(zip(w, self.weight.shape, strict=True))
        sizes.update(zip(x, self.in_shape, strict=True))
        return sizes

    @cached_property
    def out_shape(self) -> Shape:  # type: ignore[override]  # derived
        """The shape of ``y``."""
        return tuple(self._sizes[letter] for letter in self._parts[2])

    @property
    def fan_in(self) -> int:
        """The product of the summed extents."""
        w, x, y = self._parts
        return math.prod(self._sizes[letter] for letter in set(w + x) - set(y))

    def apply(self, x: Array, lift: Lift | None = None) -> Array:
        """Return the contraction of every sample."""
        w, xs, y = self._parts
        weight = self._lifted(lift)
        path = x.dtype != object
        found: Array = np.einsum(f"{w},S{xs}->S{y}", weight, x, optimize=path)
        return found

    def transpose(self) -> LinearMap:
        """Return the contraction with input and output letters exchanged."""
        w, x, y = self._parts
        return Contract(self.weight, f"{w},{y}->{x}", self.out_shape)


@dataclass(frozen=True, eq=False)
class Conv(_Weighted):
    """Convolution (cross-correlation) of any number of spatial axes, as every framework has it.

    Args:
        weight: ``(C_out, C_in / groups, *kernel)``.
        in_shape: ``(N, C_in, *spatial)``.
        strides: one per spatial axis.
        dilations: one per spatial axis.
        pads: ``(before, after)`` zeros per spatial axis.
        groups: number of groups.
    """

    weight: Array
    in_shape: Shape
    strides: Shape
    dilations: Shape
    pads: tuple[tuple[int, int], ...]
    groups: int = 1

    @cached_property
    def out_shape(self) -> Shape:  # type: ignore[override]  # derived
        """``(N, C_out, *spatial_out)``."""
        spatial = [
            (size + before + after - dilation * (kernel - 1) - 1) // stride + 1
            for size, (before, after), dilation, kernel, stride in zip(
                self.in_shape[2:],
                self.pads,
                self.dilations,
                self.weight.shape[2:],
                self.strides,
                strict=True,
            )
        ]
        return (self.in_shape[0], self.weight.shape[0], *spatial)

    @property
    def fan_in(self) -> int:
        """``C_in / groups`` times the kernel's size."""
        return math.prod(self.weight.shape[1:])

    @property
    def depth(self) -> int:
        """Sums of at most ``_SUMMANDS`` products, or of one kernel offset, are added up."""
        offsets = math.prod(self.weight.shape[2:])
        whole, blocks = self.fan_in, -(-self.fan_in // _SUMMANDS)
        found: int = max(min(whole, _SUMMANDS) + blocks, self.weight.shape[1] + offsets)
        return found

    def _grouped(self, weight: Array) -> Array:
        out_channels, in_channels, *kernel = weight.shape
        return weight.reshape(self.groups, out_channels // self.groups, in_channels, *kernel)

    def _windows(self) -> list[tuple[tuple[int, ...], tuple[slice, ...]]]:
        """Return every kernel offset with the strided slice of the padded input it meets."""
        spatial = self.out_shape[2:]
        found = []
        for offset in itertools.product(*(range(k) for k in self.weight.shape[2:])):
            cut = tuple(
                slice(o * d, o * d + (n - 1) * s + 1, s)
                for o, d, n, s in zip(offset, self.dilations, spatial, self.strides, strict=True)
            )
            found.append((offset, cut))
        return found

    def _padded(self, x: Array) -> Array:
        if not any(before or after for before, after in self.pads):
            return x
        # Not np.pad: it would put NumPy integers among Python ones in an object array.
        spatial = [s + b + a for s, (b, a) in zip(x.shape[3:], self.pads, strict=True)]
        padded = np.zeros((*x.shape[:3], *spatial), dtype=x.dtype)
        inner = tuple(slice(b, b + s) for s, (b, _) in zip(x.shape[3:], self.pads, strict=True))
        padded[(slice(None),) * 3 + inner] = x
        return padded

    def apply(self, x: Array, lift: Lift | None = None) -> Array:
        """Return the convolution: one matrix product per sample, or per offset for other types."""
        columns = math.prod(self.weight.shape[2:]) * self.in_shape[1] * self.out_size
        small = columns <= _BLOCK * self.in_shape[0] * self.weight.shape[0]
        real = x.dtype in (np.float64, np.longdouble)
        if real and small and (lift is None or lift is _absolute):
            return self._by_columns(x, self._lifted(lift))
        weight = self._grouped(self._lifted(lift))
        batch = x.shape[0] * self.in_shape[0]
        groups, out_channels, in_channels = weight.shape[:3]
        padded = self._padded(x)
        padded = padded.reshape(batch, groups, in_channels, *padded.shape[3:])
        points = math.prod(self.out_shape[2:])
        total: Array | None = None
        for offset, cut in self._windows():
            taken = padded[(slice(None),) * 3 + cut].reshape(batch, groups, in_channels, points)
            kernel = weight[(slice(None),) * 3 + offset]
            part = kernel[..., 0, None] * taken if in_channels == 1 else kernel @ taken
            total = part if total is None else _accumulate(total, part)
        if total is None:
            total = np.zeros((batch, groups, out_channels, points), dtype=x.dtype)
        return total.reshape(x.shape[0], *self.out_shape)

    def _by_columns(self, x: Array, weight: Array) -> Array:
        """Return the convolution by one matrix product per sample (its windows stay in cache)."""
        groups, kernel, spatial = self.groups, weight.shape[2:], self.out_shape[2:]
        batch = x.shape[0] * self.in_shape[0]
        padded = self._padded(x)
        padded = padded.reshape(batch, *padded.shape[2:])
        step = padded.strides
        # A view (batch, C_in, *kernel, *spatial_out) of the padded input.
        view = np.lib.stride_tricks.as_strided(
            padded,
            (batch, padded.shape[1], *kernel, *spatial),
            (
                *step[:2],
                *(s * d for s, d in zip(step[2:], self.dilations, strict=True)),
                *(s * d for s, d in zip(step[2:], self.strides, strict=True)),
            ),
            writeable=False,
        )
        rows = weight.reshape(groups, weight.shape[0] // groups, math.prod(weight.shape[1:]))
        points, count = math.prod(spatial), rows.shape[2]
        out = np.empty((batch, groups, rows.shape[1], points), dtype=x.dtype)
        columns = np.empty(view.shape[1:], dtype=x.dtype)
        matrix = columns.reshape(groups, count, points)
        part = np.empty(out.shape[1:], dtype=x.dtype)
        product = _matmul if x.dtype == np.float64 else _inner
        for k in range(batch):
            columns[...] = view[k]
            product(rows[..., :_SUMMANDS], matrix[:, :_SUMMANDS], out[k])
            for begin in range(_SUMMANDS, count, _SUMMANDS):
                block = slice(begin, begin + _SUMMANDS)
                product(rows[..., block], matrix[:, block], part)
                out[k] += part
        return out.reshape(x.shape[0], *self.out_shape)

    def apply_adjoint(self, y: Array, lift: Lift | None = None) -> Array:
        """Return the adjoint applied to ``(S, *out_shape)``: the transposed convolution."""
        weight = self._grouped(self._lifted(lift))
        batch = y.shape[0] * self.in_shape[0]
        groups, out_channels, in_channels = weight.shape[:3]
        points = math.prod(self.out_shape[2:])
        flat = y.reshape(batch, groups, out_channels, points)
        spatial = [s + b + a for s, (b, a) in zip(self.in_shape[2:], self.pads, strict=True)]
        dtype = np.result_type(y.dtype, weight.dtype, np.float64)
        total = np.zeros((batch, groups, in_channels, *spatial), dtype=dtype)
        for offset, cut in self._windows():
            kernel = weight[(slice(None),) * 3 + offset].swapaxes(1, 2)
            part = kernel[..., 0, None] * flat if out_channels == 1 else kernel @ flat
            total[(slice(None),) * 3 + cut] += part.reshape(
                batch, groups, in_channels, *self.out_shape[2:]
            )
        inner = tuple(
            slice(before, before + size)
            for size, (before, _) in zip(self.in_shape[2:], self.pads, strict=True)
        )
        return total[(slice(None),) * 3 + inner].reshape(y.shape[0], *self.in_shape)

    def transpose(self) -> LinearMap:
        """Return the transposed convolution."""
        return ConvTranspose(self)


def _matmul(rows: Array, matrix: Array, out: Array) -> None:
    np.matmul(rows, matrix, out=out)


def _inner(rows: Array, matrix: Array, out: Array) -> None:
    """Return the same product in types without BLAS, for which sums must be contiguous."""
    for k in range(len(rows)):
        out[k] = np.inner(rows[k].astype(out.dtype), np.ascontiguousarray(matrix[k].T))


def _accumulate(total: Array, part: Array) -> Array:
    if total.dtype == object:
        return total + part
    total += part
    return total


@dataclass(frozen=True, eq=False)
class ConvTranspose(LinearMap):
    """The adjoint of ``conv``: maps ``conv.out_shape`` to ``conv.in_shape``."""

    conv: Conv

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]  # derived
        """``conv.out_shape``."""
        return self.conv.out_shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]  # derived
        """``conv.in_shape``."""
        return self.conv.in_shape

    @property
    def fan_in(self) -> int:
        """Output channels per group times the kernel's size (an upper bound)."""
        weight = self.conv.weight
        found: int = weight.shape[0] // self.conv.groups * math.prod(weight.shape[2:])
        return found

    @property
    def parameters(self) -> tuple[Array, ...]:
        """The kernel."""
        return (self.conv.weight,)

    def apply(self, x: Array, lift: Lift | None = None) -> Array:
        """Return the transposed convolution of every sample."""
        return self.conv.apply_adjoint(x, lift)

    def transpose(self) -> LinearMap:
        """Return ``conv``."""
        return self.conv


@dataclass(frozen=True, eq=False)
class Reshape(LinearMap):
    """The same entries in row-major order under another shape."""

    in_shape: Shape
    out_shape: Shape

    def apply(self, x: Array, lift: Lift | None = None) -> Array:  # noqa: ARG002  # moves only
        """Return the reshaped batch."""
        return x.reshape(x.shape[0], *self.out_shape)

    def transpose(self) -> LinearMap:
        """Return the reshape back."""
        return Reshape(self.out_shape, self.in_shape)


@dataclass(frozen=True, eq=False)
class Permute(LinearMap):
    """``y`` has axis ``axes[k]`` of ``x`` as its axis ``k``."""

    in_shape: Shape
    axes: Shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]  # derived
        """The permuted shape."""
        return tuple(self.in_shape[axis] for axis in self.axes)

    def apply(self, x: Array, lift: Lift | None = None) -> Array:  # noqa: ARG002  # moves only
        """Return the transposed batch."""
        return x.transpose(0, *(axis + 1 for axis in self.axes))

    def transpose(self) -> LinearMap:
        """Return the inverse permutation."""
        return Permute(self.out_shape, tuple(int(k) for k in np.argsort(self.axes)))


@dataclass(frozen=True, eq=False)
class Slice(LinearMap):
    """``y[k] = x[start + k * step]`` per axis, ``sizes`` entries each; steps may be negative."""

    in_shape: Shape
    starts: Shape
    steps: Shape
    sizes: Shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]  # derived
        """``sizes``."""
        return self.sizes

    @cached_property
    def cut(self) -> tuple[slice, ...]:
        """The same as NumPy slices."""
        cuts = []
        for start, step, size in zip(self.starts, self.steps, self.sizes, strict=True):
            stop = start + step * size
            cuts.append(slice(start, stop if stop >= 0 else None, step) if size else slice(0, 0))
        return tuple(cuts)

    def apply(self, x: Array, lift: Lift | None = None) -> Array:  # noqa: ARG002  # moves only
        """Return the sliced batch."""
        return x[(slice(None), *self.cut)]

    def transpose(self) -> LinearMap:
        """Return the map that places the slice into zeros."""
        return Place(self)


@dataclass(frozen=True, eq=False)
class Place(LinearMap):
    """The adjoint of ``cut``: puts a tensor into zeros (padding, one part of a concatenation)."""

    cut: Slice

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]  # derived
        """``cut.out_shape``."""
        return self.cut.out_shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]  # derived
        """``cut.in_shape``."""
        return self.cut.in_shape

    def apply(self, x: Array, lift: Lift | None = None) -> Array:  # noqa: ARG002  # moves only
        """Return zeros with the batch placed at the slice."""
        total = np.zeros((x.shape[0], *self.out_shape), dtype=x.dtype)
        total[(slice(None), *self.cut.cut)] = x
        return total

    def transpose(self) -> LinearMap:
        """Return the slice."""
        return self.cut


@dataclass(frozen=True, eq=False)
class Broadcast(LinearMap):
    """NumPy broadcasting of ``in_shape`` to ``out_shape``."""

    in_shape: Shape
    out_shape: Shape

    @property
    def _aligned(self) -> Shape:
        return (1,) * (len(self.out_shape) - len(self.in_shape)) + self.in_shape

    def apply(self, x: Array, lift: Lift | None = None) -> Array:  # noqa: ARG002  # moves only
        """Return the broadcast batch (a read-only view)."""
        aligned = x.reshape(x.shape[0], *self._aligned)
        return np.broadcast_to(aligned, (x.shape[0], *self.out_shape))

    def transpose(self) -> LinearMap:
        """Return the sum over the broadcast axes."""
        aligned = self._aligned
        axes = tuple(
            k
            for k, (small, large) in enumerate(zip(aligned, self.out_shape, strict=True))
            if small == 1 and large != 1
        )
        return chain(
            Sum(self.out_shape, axes),
            Reshape(tuple(s for k, s in enumerate(self.out_shape) if k not in axes), self.in_shape),
        )


@dataclass(frozen=True, eq=False)
class Sum(LinearMap):
    """The sum over ``axes``, which disappear."""

    in_shape: Shape
    axes: Shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]  # derived
        """The shape without ``axes``."""
        return tuple(s for k, s in enumerate(self.in_shape) if k not in self.axes)

    @property
    def fan_in(self) -> int:
        """The number of entries summed."""
        return math.prod(self.in_shape[k] for k in self.axes) if self.axes else 0

    def apply(self, x: Array, lift: Lift | None = None) -> Array:  # noqa: ARG002  # no weights
        """Return the sums."""
        return np.asarray(x.sum(axis=tuple(k + 1 for k in self.axes))) if self.axes else x

    def transpose(self) -> LinearMap:
        """Return the broadcast over the summed axes."""
        kept = tuple(1 if k in self.axes else s for k, s in enumerate(self.in_shape))
        return chain(Reshape(self.out_shape, kept), Broadcast(kept, self.in_shape))


@dataclass(frozen=True, eq=False)
class Scale(_Weighted):
    """``y = weight * x`` entrywise; ``weight`` broadcasts to ``in_shape``."""

    weight: Array
    in_shape: Shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]  # derived
        """The same shape."""
        return self.in_shape

    @property
    def fan_in(self) -> int:
        """One product; 0 when every factor is 0, 1 or -1."""
        return 0 if bool(np.all(np.abs(self._sign_like) <= 1)) else 1

    @cached_property
    def _sign_like(self) -> Array:
        whole = np.isin(self.weight, (-1.0, 0.0, 1.0)).all()
        return np.zeros(1) if whole else np.full(1, 2.0)

    def apply(self, x: Array, lift: Lift | None = None) -> Array:
        """Return the scaled batch."""
        return np.asarray(x * self._lifted(lift))

    def transpose(self) -> LinearMap:
        """Return the map itself."""
        return self


@dataclass(frozen=True, eq=False)
class Take(LinearMap):
    """``y.flat[k] = x.flat[index.flat[k]]``; a negative index gives 0."""

    in_shape: Shape
    index: Array

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]  # derived
        """The shape of ``index``."""
        found: Shape = self.index.shape
        return found

    @cached_property
    def _padded(self) -> bool:
        return bool((self.index < 0).any())

    def apply(self, x: Array, lift: Lift | None = None) -> Array:  # noqa: ARG002  # moves only
        """Return the gathered batch."""
        flat = x.reshape(x.shape[0], -1)
        if not self._padded:
            return flat[:, self.index]
        taken = flat[:, np.maximum(self.index, 0)]
        taken[:, self.index < 0] = 0
        return taken

    def transpose(self) -> LinearMap:
        """Return the scattered sum."""
        return Scatter(self)


@dataclass(frozen=True, eq=False)
class Scatter(LinearMap):
    """The adjoint of ``take``: adds every entry to the place it was taken from."""

    take: Take

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]  # derived
        """``take.out_shape``."""
        return self.take.out_shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]  # derived
        """``take.in_shape``."""
        return self.take.in_shape

    @cached_property
    def _most(self) -> int:
        index = self.take.index[self.take.index >= 0]
        return int(np.bincount(index).max()) if index.size else 0

    @property
    def fan_in(self) -> int:
        """The largest number of entries that meet; 0 when none do."""
        return self._most if self._most > 1 else 0

    def apply(self, x: Array, lift: Lift | None = None) -> Array:  # noqa: ARG002  # no weights
        """Return the scattered batch."""
        index = self.take.index.reshape(-1)
        keep = index >= 0
        total = np.zeros((self.out_size, x.shape[0]), dtype=x.dtype)
        np.add.at(total, index[keep], x.reshape(x.shape[0], -1).T[keep])
        return total.T.reshape(x.shape[0], *self.out_shape)

    def transpose(self) -> LinearMap:
        """Return the gather."""
        return self.take


@dataclass(frozen=True, eq=False)
class Chain(LinearMap):
    """Primitive maps one after the other, the first one applied first; made by :func:`chain`."""

    maps: tuple[LinearMap, ...]

    @property
    def in_shape(self) -> Shape:  # type: ignore[override]  # derived
        """The first map's input."""
        return self.maps[0].in_shape

    @property
    def out_shape(self) -> Shape:  # type: ignore[override]  # derived
        """The last map's output."""
        return self.maps[-1].out_shape

    @property
    def fan_in(self) -> int:
        """The product over the stages (an upper bound); ask the stages for tight errors."""
        return math.prod(max(1, part.fan_in) for part in self.maps)

    @property
    def parameters(self) -> tuple[Array, ...]:
        """Every stage's weights."""
        return tuple(itertools.chain.from_iterable(part.parameters for part in self.maps))

    def apply(self, x: Array, lift: Lift | None = None) -> Array:
        """Return every stage applied in turn."""
        for part in self.maps:
            x = part.apply(x, lift)
        return x

    def transpose(self) -> LinearMap:
        """Return the adjoints in reverse order."""
        return chain(*(part.transpose() for part in reversed(self.maps)))

    def stages(self) -> tuple[LinearMap, ...]:
        """Return the primitive maps."""
        return self.maps


def chain(*maps: LinearMap) -> LinearMap:
    """Return the maps one after the other (the first applied first), trivial ones merged away.

    Args:
        maps: at least one; each one's output shape is the next one's input shape.
    """
    parts: list[LinearMap] = []
    for part in itertools.chain.from_iterable(m.stages() for m in maps):
        if isinstance(part, Reshape) and parts and isinstance(parts[-1], Reshape):
            part = Reshape(parts.pop().in_shape, part.out_shape)  # merged
        if isinstance(part, Identity) or (
            isinstance(part, Reshape | Broadcast) and part.in_shape == part.out_shape
        ):
            continue
        parts.append(part)
    if not parts:
        return Identity(maps[0].in_shape)
    return parts[0] if len(parts) == 1 else Chain(tuple(parts))
