"""From a model, a file or a folder to a checked network and its equations.

The framework of a model is found from the modules of its type's bases: an object of a framework
can only exist when that framework is loaded, so nothing is imported to find out.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.metadata
import importlib.util
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nneq.adapters.base import Imported, Weights
from nneq.api.verification import (
    differences,
    draw_samples,
    reference_outputs,
    verify_against,
)
from nneq.errors import MissingDependencyError, NneqError, UnsupportedError
from nneq.ir import Network, float64
from nneq.symbolic.names import terminal_text

if TYPE_CHECKING:
    from nneq.api.equations import Equations

__all__ = ["adapter_of", "framework_of", "require", "to_equations", "to_network", "weights_of"]

Array = np.ndarray[Any, Any]

FLOORS = {
    "torch": (("torch", "2.10"),),
    "keras": (("keras", "3.13.2"),),
    "tensorflow": (("tensorflow", "2.16"),),
    "onnx": (("onnx", "1.21"),),
}
_EXTRAS = {"torch": "torch", "keras": "tensorflow", "tensorflow": "tensorflow", "onnx": "onnx"}
_SUFFIXES = {
    ".onnx": "onnx",
    ".keras": "keras",
    ".h5": "keras",
    ".hdf5": "keras",
    ".pt2": "torch",
}
_PICKLED = {".pt", ".pth", ".pkl", ".pickle", ".joblib", ".ckpt", ".bin"}
_CHECK_SAMPLES = 4
_LARGE = 2_000_000


def to_network(
    model: Any,
    *,
    example_inputs: Any = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    scaler: Any = None,
    check: bool = True,
) -> Network:
    """Return a trained model as a frozen network, held against the framework's own forward pass.

    Args:
        model: a ``torch.nn.Module``, ``torch.export.ExportedProgram``, ``keras.Model``,
            ``tf.Module``, ``tf.function``, ``onnx.ModelProto``, a :class:`nneq.Network`, or the
            path of a ``.onnx``, ``.keras``, ``.h5``, ``.pt2`` file or a SavedModel folder.
        example_inputs: arrays (one, or a tuple) with the shapes of the model's inputs, where the
            model does not say them itself.
        input_names: labels of the input entries (feature names), or of the input tensors.
        output_names: labels of the output entries, or of the output tensors.
        class_names: the same as ``output_names``, for classifiers.
        scaler: what is applied to the inputs before the model: a fitted scikit-learn scaler, or
            ``(mean, scale)``; it becomes part of the equations, in raw input units.
        check: compare the network with the framework's forward pass on a few random inputs; False
            reads a large model faster, and leaves the comparison to ``Equations.verify``.

    Raises:
        NneqError: the file or the model is at fault.
        UnsupportedError: the model holds something nneq cannot express; every such node is named.
        MissingDependencyError: the framework is not installed, or too old.

    Guarantee: the network is exact for the stored weights; the comparison is numerical.

    Example:
        >>> import nneq
        >>> network = nneq.to_network("model.onnx")  # doctest: +SKIP
    """
    return _imported(
        model, example_inputs, input_names, output_names, class_names, scaler, check=check
    ).network


def to_equations(
    model: Any,
    *,
    example_inputs: Any = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    scaler: Any = None,
    check: bool = True,
) -> Equations:
    """Return a trained model as a system of equations; the arguments are those of ``to_network``.

    Example:
        >>> import nneq
        >>> eqs = nneq.to_equations("model.onnx")  # doctest: +SKIP
        >>> print(eqs)  # doctest: +SKIP
    """
    from nneq.api.equations import Equations

    found = _imported(
        model, example_inputs, input_names, output_names, class_names, scaler, check=check
    )
    return Equations(found.network, found.reference, batches=found.batches)


def _imported(
    model: Any,
    example_inputs: Any,
    input_names: Sequence[str] | None,
    output_names: Sequence[str] | None,
    class_names: Sequence[str] | None,
    scaler: Any,
    *,
    check: bool,
) -> Imported:
    if class_names is not None and output_names is not None:
        msg = "give either class_names or output_names; both name the outputs"
        raise NneqError(msg)
    found = _adapted(model, example_inputs)
    if check and found.reference is not None:
        _check(found)
    if scaler is not None:
        found = _scaled(found, scaler)
    names = class_names if class_names is not None else output_names
    if class_names is not None:
        _check_class_names(found.network, class_names)
    network = _labelled(found.network, input_names, names)
    return dataclasses.replace(found, network=network)


# ---------------------------------------------------------------------- which adapter
def _adapted(model: Any, example_inputs: Any) -> Imported:
    if isinstance(model, Network):
        return Imported(model, None)
    if isinstance(model, str | os.PathLike):
        path = Path(model)
        framework = _framework_of_path(path)
        model = path
    else:
        framework = framework_of(model)
    import_model = adapter_of(framework)
    options = {} if example_inputs is None else {"example_inputs": example_inputs}
    found = import_model(model, **options)
    if not isinstance(found, Imported):
        msg = f"the {framework} adapter returned {type(found).__name__}"
        raise TypeError(msg)
    return found


def adapter_of(framework: str) -> Callable[..., Any]:
    """Return the ``import_model`` of a framework, after a look at the installed versions."""
    for package, floor in FLOORS[framework]:
        require(package, floor, framework)
    module = importlib.import_module(f"nneq.adapters.{framework}")
    found: Callable[..., Any] = module.import_model
    return found


def weights_of(model: Any) -> Weights | None:
    """Return structure and weights of a model of plain layers, or None where there is no short way.

    Args:
        model: any model.
    """
    if isinstance(model, Network | str | os.PathLike):
        return None
    framework = framework_of(model)
    if framework not in {"torch", "keras"}:
        return None
    adapter_of(framework)
    found: Weights | None = importlib.import_module(f"nneq.adapters.{framework}").weights_of(model)
    return found


@functools.cache
def require(package: str, floor: str, framework: str) -> None:
    """Refuse a package that is missing or older than its floor; good ones are looked at once.

    Raises:
        MissingDependencyError: with the command that installs it.
    """
    extra = _EXTRAS[framework]
    try:
        installed = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        if importlib.util.find_spec(package) is not None:
            return
        msg = f'this model needs {package}, which is not installed: pip install "nneq[{extra}]"'
        raise MissingDependencyError(msg) from None
    if _release(installed) < _release(floor):
        msg = (
            f"{package} {installed} is older than {floor}, the first with the security fixes nneq "
            f'relies on: pip install "{package}>={floor}"'
        )
        raise MissingDependencyError(msg)


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers at the start of a version: ``2.13.0+cpu`` gives ``(2, 13, 0)``."""
    numbers: list[int] = []
    for part in version.split("+", maxsplit=1)[0].split("."):
        digits = ""
        for char in part:
            if not char.isdigit():
                break
            digits += char
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def framework_of(model: Any) -> str:
    """Return the framework of a model from the modules of its bases.

    Raises:
        UnsupportedError: it is of none.
    """
    bases = [(base.__module__ or "", base.__name__) for base in type(model).__mro__]
    roots = {module.split(".")[0] for module, _ in bases}
    if any(m.split(".")[0] == "keras" and name in {"Model", "Layer"} for m, name in bases):
        return "keras"
    if "onnx" in roots and any(name == "ModelProto" for _, name in bases):
        return "onnx"
    if "torch" in roots:
        return "torch"
    if roots & {"tensorflow", "tf_keras"}:
        return "tensorflow"
    shown = terminal_text(f"{type(model).__module__}.{type(model).__qualname__}")
    hint = ""
    if "sklearn" in roots:
        hint = "; convert a scikit-learn model with skl2onnx.to_onnx(model, X) and give the result"
    elif "onnx_ir" in roots:
        hint = "; give onnx_ir.to_proto(model)"
    msg = (
        f"cannot read a {shown} as a network{hint}; accepted are torch.nn.Module, "
        "torch.export.ExportedProgram, keras.Model, tf.Module, tf.function, onnx.ModelProto, "
        "nneq.Network, and paths of .onnx, .keras, .h5, .pt2 files and SavedModel folders"
    )
    raise UnsupportedError(msg)


def _framework_of_path(path: Path) -> str:
    shown = terminal_text(str(path))
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"cannot open {shown!r}: {reason}; give the path of a model file"
        raise NneqError(msg) from None
    if stat.S_ISDIR(mode):
        if (path / "saved_model.pb").is_file():
            return "tensorflow"
        msg = (
            f"{shown!r} is a folder without saved_model.pb; give a SavedModel folder, or the path "
            "of a .onnx, .keras, .h5 or .pt2 file"
        )
        raise NneqError(msg)
    if not stat.S_ISREG(mode):
        msg = f"{shown!r} is not a regular file; write the model to a file and give its path"
        raise NneqError(msg)
    if path.stat().st_size == 0:
        msg = f"{shown!r} is empty; save the model again"
        raise NneqError(msg)
    suffix = path.suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if suffix in _PICKLED:
        msg = (
            f"{shown!r} may hold pickled Python code, which nneq never runs; load it yourself and "
            "give the model, or save it with torch.export.save as .pt2, or as .onnx"
        )
        raise UnsupportedError(msg)
    msg = (
        f"{shown!r} does not end in .onnx, .keras, .h5 or .pt2, so its format is unknown; rename "
        "it or export the model to one of these"
    )
    raise UnsupportedError(msg)


# ---------------------------------------------------------------------- the comparison
def _check(found: Imported) -> None:
    """Hold the network against the framework on a few samples.

    Raises:
        UnsupportedError: the model is random.
        NneqError: they differ by more than rounding.
    """
    network, reference = found.network, found.reference
    if reference is None or not network.outputs:
        return
    result = verify_against(
        network,
        lambda arrays: float64.evaluate(network, arrays),
        lambda arrays: reference_outputs(network, reference, arrays, batches=found.batches),
        samples=_CHECK_SAMPLES if network.parameter_count <= _LARGE else 1,
        seed=0,
        name=network.source.framework,
    )
    if not result.passed:
        drawn = draw_samples(network, _CHECK_SAMPLES, 0)
        first, second = (
            reference_outputs(network, reference, drawn, batches=found.batches) for _ in range(2)
        )
        if differences(first, second)[1].max() > result.tolerance:
            msg = (
                f"the {network.source.framework} model is not a function of its inputs: two "
                "forward passes on the same input differ (random noise, or state that a pass "
                "changes); remove what is random, or export the model in inference mode"
            )
            raise UnsupportedError(msg)
        msg = (
            f"the network read from the {network.source.framework} model differs from the model's "
            f"own forward pass: largest relative difference {result.max_rel_error:.3g}, absolute "
            f"{result.max_abs_error:.3g}, tolerance {result.tolerance:.1g}; this is a fault of "
            "nneq, please report the model"
        )
        raise NneqError(msg)


# ---------------------------------------------------------------------- names and scalers
def _labelled(
    network: Network, inputs: Sequence[str] | None, outputs: Sequence[str] | None
) -> Network:
    return dataclasses.replace(
        network,
        inputs=_named_ports(network.inputs, inputs, "input"),
        outputs=_named_ports(network.outputs, outputs, "output"),
    )


def _check_class_names(network: Network, names: Sequence[str]) -> None:
    """Refuse class names that are not one for each output."""
    if not isinstance(names, str) and len(names) != network.output_size:
        msg = (
            f"{len(names)} class names were given, and the model has {network.output_size} "
            "outputs; give one name for each"
        )
        raise NneqError(msg)


def _named_ports(ports: tuple[Any, ...], names: Sequence[str] | None, what: str) -> tuple[Any, ...]:
    if names is None:
        return ports
    if isinstance(names, str):
        msg = f"{what}_names must be a sequence of names, not the single string {names!r}"
        raise NneqError(msg)
    labels = [str(name) for name in names]
    total = sum(port.size for port in ports)
    if len(labels) == total:
        found, first = [], 0
        for port in ports:
            part = tuple(labels[first : first + port.size])
            found.append(dataclasses.replace(port, entry_labels=part))
            first += port.size
        return tuple(found)
    if len(labels) == len(ports):
        return tuple(
            dataclasses.replace(port, label=label)
            for port, label in zip(ports, labels, strict=True)
        )
    msg = (
        f"{len(labels)} {what} names were given; the model has {total} {what} entries in "
        f"{len(ports)} tensors, and takes one name for each entry or for each tensor"
    )
    raise NneqError(msg)


def _scaled(found: Imported, scaler: Any) -> Imported:
    from nneq.api.scaling import affine_of, with_scaler

    shift, factor, offset = affine_of(scaler, found.network)
    network = with_scaler(found.network, shift, factor, offset)
    reference = found.reference
    if reference is None:
        return Imported(network, None, found.batches)
    own, port = reference, network.inputs[0]

    def scaled(arrays: Sequence[Array]) -> list[Array]:
        first = np.asarray(arrays[0], dtype=np.float64)
        shape = port.shape[1:] if port.batched else port.shape
        moved = (first - shift.reshape(shape)) * factor.reshape(shape) + offset.reshape(shape)
        return own([moved.astype(np.asarray(arrays[0]).dtype), *arrays[1:]])

    return Imported(network, scaled, found.batches)
