"""The facade: calls, lookups, pre-activations, gradients, verification, JSON."""

from __future__ import annotations

import json
import pickle
import threading

import numpy as np
import pytest
import sympy
from zoo_networks import mlp

import nneq
from nneq.adapters.base import Imported
from nneq.ir import Source
from nneq.lowering import Builder

XOR = {
    "weights": [np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([[1.0, -0.5], [1.0, 0.25]])],
    "biases": [np.array([0.25, -0.5]), np.array([0.0, 1.0])],
    "dtype": "float64",
}


@pytest.fixture
def eqs():
    """A 2-2-2 sigmoid network with weights of few digits."""
    return nneq.to_equations(mlp([2, 2, 2], "sigmoid", last="sigmoid", **XOR))


def test_the_system_reads_as_the_network(eqs):
    """One equation per unit, hidden units first."""
    expected = [
        "y_1 = sigmoid(x_1 - x_2 + 0.25)",
        "y_2 = sigmoid(-x_1 + x_2 - 0.5)",
        "z_1 = sigmoid(y_1 + y_2)",
        "z_2 = sigmoid(-0.5*y_1 + 0.25*y_2 + 1.0)",
    ]

    assert expected == str(eqs).splitlines()


def test_the_system_is_made_of_sympy_equations(eqs):
    """Each is an unevaluated Eq whose left side is the unit's symbol."""
    system = eqs.system()

    assert all(isinstance(equation, sympy.Eq) for equation in system)
    assert ["y_1", "y_2", "z_1", "z_2"] == [str(equation.lhs) for equation in system]
    assert "sigmoid(x_1 - x_2 + 0.25)" == str(system[0].rhs)


def test_symbols_have_no_assumptions(eqs):
    """``subs`` by name and by plain symbol both work."""
    by_name = eqs["z_1"].subs({"x_1": 0.5, "x_2": 0.25})
    by_symbol = eqs["z_1"].subs({sympy.Symbol("x_1"): 0.5, sympy.Symbol("x_2"): 0.25})

    assert by_name == by_symbol
    assert float(eqs([0.5, 0.25])[0]) == pytest.approx(float(by_name), rel=1e-14)


def test_the_logit_is_before_the_activation(eqs):
    """sigmoid(pre) is the output."""
    logit = eqs.pre("z_1").subs({"x_1": 0.5, "x_2": 0.25})

    assert float(eqs([0.5, 0.25])[0]) == pytest.approx(1 / (1 + np.exp(-float(logit))), rel=1e-14)


def test_an_output_without_activation_is_its_own_logit():
    """pre() of a regression output is the output."""
    eqs = nneq.to_equations(mlp([2, 2, 1], last=None))

    assert eqs["z_1"] == eqs.pre("z_1")


def test_softmax_logits():
    """pre() of softmax outputs are the scores: their softmax is the output."""
    eqs = nneq.to_equations(mlp([2, 3, 3]))
    at = {"x_1": 0.3, "x_2": -0.8}
    logits = np.array([float(eqs.pre(z).subs(at)) for z in eqs.outputs])
    expected = np.exp(logits) / np.exp(logits).sum()

    assert np.allclose(expected, eqs([0.3, -0.8]), rtol=1e-13)


def test_one_row_and_many(eqs):
    """(n,) gives (m,), (batch, n) gives (batch, m), an empty batch an empty result."""
    rows = np.random.default_rng(0).normal(size=(5, 2))

    assert (2,) == eqs(rows[0]).shape
    assert (5, 2) == eqs(rows).shape
    assert (0, 2) == eqs(rows[:0]).shape
    assert np.array_equal(eqs(rows)[3], eqs(rows[3:4])[0])


@pytest.mark.parametrize("shape", [(3,), (4, 3), (1, 2, 1), ()])
def test_a_wrong_shape_is_refused(eqs, shape):
    """The message gives both shapes."""
    with pytest.raises(nneq.NneqError, match=r"expected inputs of shape \(batch, 2\) or \(2,\)"):
        eqs(np.zeros(shape))


def test_large_batches_are_cut(eqs):
    """A batch larger than one piece of work gives the same rows."""
    rows = np.random.default_rng(0).normal(size=(200_000, 2))

    assert np.allclose(eqs.network(rows), eqs(rows), rtol=1e-14)


def test_the_inputs_are_never_changed(eqs):
    """A call leaves the caller's array alone, and its result is writable and its own."""
    rows = np.ones((2, 2))
    first = eqs(rows)
    first[:] = 7

    assert np.array_equal(np.ones((2, 2)), rows)
    assert not np.array_equal(first, eqs(rows))


def test_an_identity_network_returns_a_copy():
    """A network that only copies does not hand out the caller's memory."""
    b = Builder()
    x = b.input((1, 2))
    eqs = nneq.to_equations(b.build([(x, "same")], source=Source()))
    rows = np.ones((3, 2))
    eqs(rows)[:] = 5

    assert np.array_equal(np.ones((3, 2)), rows)
    assert "z_1 = x_1\nz_2 = x_2" == str(eqs)


def test_a_constant_network_has_equations():
    """An output that no input reaches is a number."""
    b = Builder()
    b.input((1, 2))
    eqs = nneq.to_equations(b.build([(b.constant(np.array([[1.5, 2.0]])), "c")], source=Source()))

    assert "z_1 = 1.5\nz_2 = 2.0" == str(eqs)
    assert np.array_equal([[1.5, 2.0]] * 3, eqs(np.zeros((3, 2))))
    assert np.array_equal([[1.5, 2.0]] * 3, eqs.lambdify()(np.zeros((3, 2))))


def test_the_plain_function_takes_columns(eqs):
    """f(x_1, x_2) takes numbers and arrays; f(x) rows."""
    f = eqs.lambdify()
    a, b = np.meshgrid(np.linspace(-1, 1, 3), np.linspace(-1, 1, 4))
    z_1, z_2 = f(a, b)

    assert (4, 3) == z_1.shape == z_2.shape
    assert eqs([-1.0, 1.0])[0] == pytest.approx(z_1[3, 0])
    assert f(0.5, 0.25) == pytest.approx(tuple(eqs([0.5, 0.25])))
    with pytest.raises(nneq.NneqError, match="expected one array or 2 values, got 3 values"):
        f(1, 2, 3)
    with pytest.raises(nneq.NneqError, match=r"expected inputs of shape \(batch, 2\)"):
        f(np.zeros((2, 3)))


def test_an_unknown_backend_is_refused(eqs):
    """The message names the backend there is."""
    with pytest.raises(nneq.NneqError, match="unknown backend 'jax'; the one there is is 'numpy'"):
        eqs.lambdify(backend="jax")


def test_calls_from_threads_agree(eqs):
    """The compiled form owns no buffers."""
    rows = np.random.default_rng(0).normal(size=(50, 2))
    expected = eqs(rows)
    wrong = []

    def work():
        for _ in range(200):
            if not np.array_equal(expected, eqs(rows)):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == wrong


def test_the_gradient_is_keyed_by_inputs(eqs):
    """A mapping from every input to its partial derivative."""
    gradient = eqs.gradient("z_1")

    assert ["x_1", "x_2"] == list(gradient)
    assert sympy.diff(eqs["z_1"], sympy.Symbol("x_1")).subs({"x_1": 0.3, "x_2": 0.1}).evalf(
        20
    ) == pytest.approx(gradient["x_1"].subs({"x_1": 0.3, "x_2": 0.1}).evalf(20))
    assert (2, 2) == eqs.jacobian().shape


def test_an_unused_input_has_derivative_zero():
    """The gradient names every input."""
    w = np.array([[1.0], [0.0]])
    eqs = nneq.to_equations(mlp([2, 1], last=None, weights=[w], biases=[np.zeros(1)]))

    assert {"x_1": 1, "x_2": 0} == eqs.gradient("z_1")


def test_verification_without_a_framework(eqs):
    """A network made by hand is held against its direct evaluation."""
    found = eqs.verify(samples=50, seed=3)

    assert found.passed
    assert "direct evaluation" == found.reference
    assert (2,) == found.worst_input.shape
    assert "agree on 50 samples" in str(found)


def test_verification_finds_a_difference():
    """A reference that differs in one entry does not pass, and the worst input is shown."""
    network = mlp([2, 3, 2])

    def reference(arrays):
        out = network(*arrays).copy()
        out[..., 0] += np.where(np.asarray(arrays[0])[..., 0] > 0, 0.01, 0.0)
        return [out]

    found = nneq.Equations(network, reference, batches=True).verify(samples=100)

    assert not found.passed
    assert found.worst_input[0] > 0
    assert found.max_abs_error == pytest.approx(0.01, rel=1e-3)


def test_verification_takes_references_without_batches():
    """A framework that only takes one sample is asked one by one."""
    network = mlp([2, 3, 2])
    sizes = []

    def reference(arrays):
        sizes.append(arrays[0].shape)
        return [network(*arrays)]

    assert nneq.Equations(network, reference, batches=False).verify(samples=3).passed
    assert [(1, 2)] * 3 == sizes


def test_an_import_that_differs_is_refused(monkeypatch):
    """Every import ends with a comparison; a wrong network never comes out."""
    from nneq.api import importing

    network = mlp([2, 3, 2])
    wrong = mlp([2, 3, 2], seed=1)
    found = Imported(network, lambda arrays: [wrong(*arrays)], batches=True)
    monkeypatch.setattr(importing, "framework_of", lambda model: "torch")
    monkeypatch.setattr(importing, "adapter_of", lambda framework: lambda model: found)

    with pytest.raises(nneq.NneqError, match="largest relative difference"):
        nneq.to_network(object())


def test_the_number_of_samples_is_checked(eqs):
    """At least one sample."""
    with pytest.raises(nneq.NneqError, match="samples must be at least 1, got 0"):
        eqs.verify(samples=0)


def test_json_is_plain_data(eqs):
    """to_dict goes through json.dumps and holds names, labels, text and the network."""
    data = json.loads(json.dumps(eqs.to_dict(), allow_nan=False))

    assert [{"name": "x_1", "label": ""}, {"name": "x_2", "label": ""}] == data["inputs"]
    assert str(eqs).splitlines() == data["equations"]
    assert eqs.network.parameter_count == nneq.Equations.from_dict(data).network.parameter_count


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.pop("format"),
        lambda d: d.pop("network"),
        lambda d: d["network"].pop("nodes"),
        lambda d: d["network"]["nodes"][1].update(kind="System"),
        lambda d: d["network"]["nodes"][1]["terms"][0].update(arg=99),
        lambda d: d["network"]["nodes"][1]["terms"][0].update(arg=1),
        lambda d: d["network"]["arrays"][0].update(shape=[-1, 2]),
        lambda d: d["network"]["arrays"][0].update(dtype="object"),
        lambda d: d["network"]["arrays"][0]["data"].append("0x1p0"),
        lambda d: d["network"]["arrays"][0]["data"].__setitem__(0, "import os"),
        lambda d: d["network"]["inputs"][0].update(name="__import__('os')"),
        lambda d: d["network"]["outputs"][0].update(node=-1),
        lambda d: d["network"].update(nodes="text"),
        lambda d: d["network"].update(arrays=None),
    ],
)
def test_damaged_json_is_one_error(eqs, damage):
    """Data that is not what to_dict wrote is refused, never half read."""
    data = json.loads(json.dumps(eqs.to_dict()))
    damage(data)

    with pytest.raises(nneq.NneqError):
        nneq.Equations.from_dict(data)


def test_an_explanation_shows_pieces_and_the_local_map():
    """For a ReLU network the local map is the affine map of the active region."""
    eqs = nneq.to_equations(mlp([2, 3, 2], "relu", last=None))
    x = np.array([0.4, -0.3])
    found = eqs.explain(x)
    nearby = x + 1e-9

    assert {"y_1", "y_2", "y_3"} == set(found.pieces)
    assert all((found.units[name] > 0) == bool(piece) for name, piece in found.pieces.items())
    assert np.allclose(eqs(nearby), found.weights @ nearby + found.bias, rtol=1e-12)
    assert "near here: z_1" in str(found)


def test_several_outputs_are_numbered_on():
    """z_1 ... z_m run over all output tensors; a hidden output is a copy."""
    b = Builder()
    x = b.input((1, 2))
    h = b.elementwise("tanh", b.matmul(x, b.constant(np.eye(2))))
    out = b.matmul(h, b.constant(np.ones((2, 1))))
    eqs = nneq.to_equations(b.build([(out, "sum"), (h, "hidden")], source=Source()))

    assert ["z_1", "z_2", "z_3"] == list(eqs.outputs)
    assert ["z_1 = y_1 + y_2", "z_2 = y_1", "z_3 = y_2"] == str(eqs).splitlines()[2:]


def test_a_reshaped_output_keeps_its_names():
    """Flattening after the last activation adds no equations."""
    b = Builder()
    x = b.input((1, 2))
    out = b.reshape(b.elementwise("tanh", x), (1, 2, 1))
    eqs = nneq.to_equations(b.build([(out, "out")], source=Source()))

    assert "z_1 = tanh(x_1)\nz_2 = tanh(x_2)" == str(eqs)


def test_boundaries_are_made_when_they_are_asked_for():
    """A thousand classes have half a million pairs; none is built before it is looked up."""
    eqs = nneq.to_equations(mlp([2, 3, 1000]))
    pairs = eqs.boundaries()

    assert 1000 * 999 // 2 == len(pairs)
    assert ("z_7", "z_900") in pairs
    assert ("z_900", "z_7") not in pairs
    assert "z_900" == pairs["z_7", "z_900"].second
    with pytest.raises(KeyError):
        pairs["z_7", "z_1001"]


def test_equations_travel_between_processes():
    """Pickling keeps the network; the framework's own forward pass stays behind."""
    network = mlp([2, 3, 2])
    eqs = nneq.Equations(network, lambda arrays: [network(*arrays)], batches=True)
    rows = np.ones((1, 2))
    expected = eqs(rows)
    again = pickle.loads(pickle.dumps(eqs))

    assert np.array_equal(expected, again(rows))
    assert "direct evaluation" == again.verify(5).reference


def test_boundaries_are_all_pairs():
    """One boundary for each pair of outputs, by name."""
    eqs = nneq.to_equations(mlp([2, 3, 3]))

    assert [("z_1", "z_2"), ("z_1", "z_3"), ("z_2", "z_3")] == list(eqs.boundaries())
