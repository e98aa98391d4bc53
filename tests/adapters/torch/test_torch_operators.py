"""Every ATen operator in the table against PyTorch itself, in float64."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from adapters.torch.operator_cases import CASES, REFUSED, Case

from nneq import UnsupportedError
from nneq.adapters.torch import import_model
from nneq.adapters.torch.operators import LOWERINGS

TOLERANCE = 1e-12
# tracing gives other operators for these; the fast path for nn.Sequential uses the rows
FAST = {"softsign", "tanhshrink", "hardshrink", "softshrink", "batch_norm"}


class Several(torch.nn.Module):
    """Many functions of the same inputs."""

    def __init__(self, cases):
        super().__init__()
        self.cases = cases

    def forward(self, *tensors):
        return [case.function(*tensors) for case in self.cases]


def draw(shapes, seed):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes)


def assert_close(expected, actual, what):
    """Fail unless the arrays agree to 1e-12 of the largest entry."""
    assert expected.shape == actual.shape, what
    wide, found = expected.astype(np.float64), actual.astype(np.float64)
    assert np.array_equal(np.isnan(wide), np.isnan(found)), what
    same = (wide == found) | np.isnan(wide)
    with np.errstate(invalid="ignore"):
        gap = np.where(same, 0.0, np.abs(wide - found))
    size = np.abs(wide[np.isfinite(wide)]).max(initial=1e-300)
    assert gap.max(initial=0.0) <= TOLERANCE * size, (what, gap.max(initial=0.0) / size)


def groups():
    """Return the cases by their input shapes, at most 30 together."""
    by_shape = defaultdict(list)
    for case in CASES:
        by_shape[case.shapes].append(case)
    for shapes, cases in by_shape.items():
        for start in range(0, len(cases), 30):
            part = cases[start : start + 30]
            yield pytest.param(part, id=f"{part[0].op}-{len(part)}-{'x'.join(map(str, shapes[0]))}")


@pytest.fixture
def used(monkeypatch):
    """Return the set of lowerings that were called."""
    found = set()
    for name, lowering in list(LOWERINGS.items()):

        def recorded(call, lowering=lowering, name=name):
            found.add(name)
            return lowering(call)

        monkeypatch.setitem(LOWERINGS, name, recorded)
    return found


@pytest.mark.parametrize("cases", list(groups()))
def test_operators_equal_pytorch(cases, used):
    """Every operator's equations give PyTorch's numbers, through the lowering of that name."""
    model = Several(cases)
    example = draw(cases[0].shapes, 0)

    found = import_model(model, example_inputs=example)

    assert {case.op for case in cases} - FAST <= used
    for seed in (1, 2):
        arrays = [
            tensor.numpy().reshape((-1, *port.shape[1:]))[:1] if port.batched else tensor.numpy()
            for tensor, port in zip(draw(cases[0].shapes, seed), found.network.inputs, strict=True)
        ]
        expected = found.reference(arrays)
        actual = found.network(*arrays)
        actual = actual if isinstance(actual, tuple) else (actual,)
        assert len(expected) == len(actual)
        labels = [port.label for port in found.network.outputs]
        for want, got, label in zip(expected, actual, labels, strict=True):
            assert_close(want, got, f"{label}: {cases[int(label.split('.')[0])].op}")


@pytest.mark.parametrize("case", list(REFUSED.values()), ids=list(REFUSED))
def test_refused_operators_are_named(case: Case):
    """An operator without equations is refused by its name, with the module and the line."""
    with pytest.raises(UnsupportedError) as caught:
        import_model(Several([case]), example_inputs=draw(case.shapes, 0))

    text = str(caught.value)
    assert f"operator aten.{case.op}" in text
    assert "test_torch_operators.py line" in text


def test_every_lowering_has_a_case():
    """No row of the operator table is untested."""
    tested = {case.op for case in CASES} | set(REFUSED)

    assert set() == set(LOWERINGS) - tested
    assert set() == tested - set(LOWERINGS)


def test_the_documented_operators_are_those_of_the_table():
    """docs/torch.md lists every operator with a lowering, and no other."""
    text = (Path(__file__).parents[3] / "docs" / "torch.md").read_text()
    listed = set(re.findall(r"`(\w+)`", text.split("## Operators with a lowering")[1]))

    assert set(LOWERINGS) - set(REFUSED) == listed
