"""The fast path: a plain ``nn.Sequential`` of known layers, read layer by layer.

Tracing costs seconds when it is cold.  Every layer here is handed to the same lowering as the
operator that tracing would give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as module_hooks

from nneq.adapters.torch.operators import LOWERINGS
from nneq.adapters.torch.registry import Call, Constants, numpy_dtype
from nneq.lowering.builder import Builder, Value

__all__ = ["lower_sequential", "plain_layers", "settings_of"]

Step = tuple[str, dict[str, Any]]


def _same(op: str) -> Callable[[Any], Step]:
    return lambda _layer: (op, {})


_STEPS: dict[type[nn.Module], Callable[[Any], Step]] = {
    nn.ReLU: _same("relu"),
    nn.ReLU6: lambda _m: ("hardtanh", {"min_val": 0.0, "max_val": 6.0}),
    nn.Sigmoid: _same("sigmoid"),
    nn.Tanh: _same("tanh"),
    nn.SiLU: _same("silu"),
    nn.Mish: _same("mish"),
    nn.SELU: _same("selu"),
    nn.Hardswish: _same("hardswish"),
    nn.Hardsigmoid: _same("hardsigmoid"),
    nn.LogSigmoid: _same("log_sigmoid"),
    nn.Softsign: _same("softsign"),
    nn.Tanhshrink: _same("tanhshrink"),
    nn.GELU: lambda m: ("gelu", {"approximate": m.approximate}),
    nn.ELU: lambda m: ("elu", {"alpha": m.alpha}),
    nn.CELU: lambda m: ("celu", {"alpha": m.alpha}),
    nn.LeakyReLU: lambda m: ("leaky_relu", {"negative_slope": m.negative_slope}),
    nn.Hardtanh: lambda m: ("hardtanh", {"min_val": m.min_val, "max_val": m.max_val}),
    nn.Softplus: lambda m: ("softplus", {"beta": m.beta, "threshold": m.threshold}),
    nn.Softshrink: lambda m: ("softshrink", {"lambd": m.lambd}),
    nn.Hardshrink: lambda m: ("hardshrink", {"lambd": m.lambd}),
    nn.Threshold: lambda m: ("threshold", {"threshold": m.threshold, "value": m.value}),
    nn.Softmax: lambda m: ("softmax", {"dim": m.dim}),
    nn.LogSoftmax: lambda m: ("log_softmax", {"dim": m.dim}),
    nn.Linear: lambda m: ("linear", {"weight": m.weight, "bias": m.bias}),
    nn.BatchNorm1d: lambda m: (
        "batch_norm",
        {
            "running_mean": m.running_mean,
            "running_var": m.running_var,
            "weight": m.weight,
            "bias": m.bias,
            "eps": m.eps,
            "training": False,
        },
    ),
}
_NOTHING = {nn.Identity, nn.Dropout, nn.AlphaDropout}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks")
_GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks")


def _layers(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    children: dict[str, nn.Module | None] = vars(model)["_modules"]
    for name, layer in children.items():  # named_children() gives a shared layer only once
        if layer is None:
            continue
        path = f"{prefix}{name}"
        if type(layer) is nn.Sequential:
            yield from _layers(layer, f"{path}.")
        else:
            yield path, layer


def _plain(model: nn.Module) -> bool:
    if type(model) is not nn.Sequential or any(getattr(module_hooks, k) for k in _GLOBAL_HOOKS):
        return False
    modules = list(model.modules())
    return not any("forward" in vars(m) or any(getattr(m, k) for k in _HOOKS) for m in modules)


def plain_layers(model: nn.Module) -> list[nn.Module] | None:
    """Return the layers of a model whose function is in their settings and weights, or None.

    Batch normalisation is none of them: its statistics are folded into other arrays.
    """
    if not _plain(model):
        return None
    layers = [layer for _, layer in _layers(model)]
    for layer in layers:
        if type(layer) is nn.BatchNorm1d or not _fits(layer, 2):
            return None
    return layers


def settings_of(layer: nn.Module) -> tuple[Any, ...]:
    """Return what says, beside its type, what a layer without weights does."""
    if type(layer) is nn.Flatten:
        return (layer.start_dim, layer.end_dim)
    if type(layer) not in _STEPS:
        return ()
    op, arguments = _STEPS[type(layer)](layer)
    return (op, *sorted(arguments.items()))


def _fits(layer: nn.Module, rank: int) -> bool:
    """Return whether the layer is known here for two axes and never mixes samples."""
    if type(layer) in _NOTHING:
        return True
    if type(layer) is nn.Flatten:
        return layer.start_dim == 1 and layer.end_dim in {-1, rank - 1}
    if type(layer) in {nn.Softmax, nn.LogSoftmax}:
        return layer.dim in {1, -1}
    if type(layer) is nn.BatchNorm1d:
        return layer.running_mean is not None
    return type(layer) in _STEPS


def lower_sequential(
    model: nn.Module, tensors: list[torch.Tensor]
) -> tuple[Builder, list[Value], list[torch.Tensor]] | None:
    """Return the builder, the output and the one-sample input; None where tracing is needed.

    Args:
        model: the private copy.
        tensors: the example: one floating-point tensor ``(batch, n)``.
    """
    layers = list(_layers(model))
    if not _plain(model) or len(tensors) != 1 or tensors[0].ndim != 2 or not len(tensors[0]):
        return None
    kind = tensors[0].dtype
    dtypes = {p.dtype for p in (*model.parameters(), *model.buffers()) if p.is_floating_point()}
    known = kind in {torch.float32, torch.float64} and dtypes <= {kind}
    if not known or not all(_fits(layer, 2) for _, layer in layers):
        return None
    if not _widths_fit([layer for _, layer in layers], tensors[0].shape[1]):
        return None
    b, constants = Builder(), Constants()
    x = b.input((1, tensors[0].shape[1]), label="input", dtype=numpy_dtype(kind))
    for name, layer in layers:
        if type(layer) not in _STEPS:
            continue
        b.origin = name
        op, arguments = _STEPS[type(layer)](layer)
        width = layer.out_features if type(layer) is nn.Linear else x.shape[1]
        key = "input" if op in {"linear", "batch_norm"} else "self"
        call = Call(
            b=b,
            op=op,
            arguments={key: x, **arguments},
            shapes=((1, width),),
            dtype=numpy_dtype(kind),
            constants=constants,
            overload=None,
            torch_dtype=kind,
        )
        found = LOWERINGS[op](call)
        if not isinstance(found, Value):
            return None
        x = Value(found.shape, numpy_dtype(kind), node=found.node, array=found.array)
    return b, [x], [tensors[0][:1]]


def _widths_fit(layers: list[nn.Module], width: int) -> bool:
    """Return whether the layers fit one another; if not, the model itself says what is wrong."""
    for layer in layers:
        if type(layer) is nn.Linear:
            if layer.in_features != width:
                return False
            width = layer.out_features
        elif type(layer) is nn.BatchNorm1d and layer.num_features != width:
            return False
    return True
