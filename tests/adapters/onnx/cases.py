"""The onnx package's own node cases, run through our backend, and why some are refused.

``REASONS`` is the table of ``docs/onnx.md``: a reason, and a pattern that every refusal with that
reason matches.  A refusal that matches none fails the tests.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from adapters.onnx.backend import EquationsBackend, plain, with_initialisers
from onnx import TensorProto

from nneq.errors import NneqError

REASONS = {
    "operator": r"this operator is not supported",
    "shape operand": (
        r"(shape|axes|axis|depth|k|pads|starts|split|scales|sizes|roi|repeats|start|limit|rounds|"
        r"condition|scale|sequence_lens|ratio|training_mode|operand)( \([^)]*\))? depends on the "
        r"model's inputs"
    ),
    "live places": r"the places depend on the inputs",
    "live condition": r"its condition depends on the inputs",
    "live divisor": r"the divisor depends on|an integer division by a value that depends",
    "live quantisation": r"quantising a value that depends on the inputs",
    "8-bit float": r"to an 8-bit float",
    "element type": r"element type \w+ is not supported|a cast to text",
    "not a tensor": r"it is a (sequence|optional), not a tensor",
    "random or training": r"in training mode",
    "no entries": r"a reduction of no entries|cannot be read as \[3, 4, 0\]",
    "not a number": r"holds NaN",
    "ambiguous resize": r"read differently; export with sizes|a region of interest outside",
    "old scan": r"the form of Scan before opset 9",
}


@dataclass
class Tally:
    """What became of the cases of one mode."""

    counts: Counter = field(default_factory=Counter)
    reasons: Counter = field(default_factory=Counter)
    operators: set = field(default_factory=set)
    wrong: list = field(default_factory=list)
    unexplained: list = field(default_factory=list)


def node_cases():
    """Return the cases the package generates (they are not files in a wheel)."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return collect_testcases(None)


def tally(cases, *, constants: bool) -> Tally:
    """Run every case, as shipped or with all operands but one as initialisers."""
    found = Tally()
    for case in cases:
        for inputs, expected in case.data_sets:
            _run(case, list(inputs), expected, found, constants=constants)
    return found


def _tensors_only(model) -> bool:
    return all(port.type.WhichOneof("value") == "tensor_type" for port in model.graph.input)


def _run(case, inputs, expected, found: Tally, *, constants: bool) -> None:
    model = case.model
    if constants:
        if len(inputs) < 2 or len(model.graph.input) != len(inputs) or not _tensors_only(model):
            return
        kinds = [plain(array).dtype.kind for array in inputs]
        if set(kinds) & set("OUS"):
            return
        keep = kinds.index("f") if "f" in kinds else 0
        model = with_initialisers(model, inputs, keep)
        inputs = [inputs[keep]]
    try:
        outputs = EquationsBackend.prepare(model).run(inputs)
    except NneqError as error:
        found.counts["refused"] += 1
        reason = reason_of(str(error))
        found.reasons[reason] += 1
        found.operators |= set(re.findall(r"\(([\w.]+)-\d+[^)]*\): this operator", str(error)))
        if reason is None:
            found.unexplained.append(f"{case.name}: {error}")
        return
    problem = difference(case, outputs, expected)
    found.counts["wrong" if problem else "passed"] += 1
    if problem:
        found.wrong.append(f"{case.name}: {problem}")


def reason_of(message: str) -> str | None:
    """Return the documented reason a refusal matches, or None."""
    return next((name for name, text in REASONS.items() if re.search(text, message)), None)


def difference(case, outputs, expected) -> str | None:
    """Return how outputs differ from the expected ones, or None.

    Float32 results agree to 1e-5; narrower types to their own rounding.
    """
    if len(outputs) != len(expected):
        return f"{len(outputs)} outputs, {len(expected)} expected"
    for made, wanted in zip(outputs, expected, strict=True):
        stored = plain(wanted)
        own = np.asarray(made)
        if own.shape != stored.shape:
            return f"shape {own.shape}, expected {stored.shape}"
        a, b = own.astype(np.float64), stored.astype(np.float64)
        if not np.allclose(
            a, b, rtol=max(case.rtol, _rtol(wanted)), atol=max(case.atol, 1e-6), equal_nan=True
        ):
            return f"largest difference {np.nanmax(np.abs(a - b))}"
    return None


def _rtol(wanted) -> float:
    if isinstance(wanted, TensorProto):
        return 1e-2
    dtype = np.asarray(wanted).dtype
    if dtype.kind not in "fiub":
        return 1e-2  # bfloat16 and 8-bit floats
    return 1e-3 if dtype == np.float16 else 1e-5
