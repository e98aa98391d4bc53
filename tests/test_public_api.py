"""The public surface: names, homes, documentation."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import nneq

METHODS = {
    "network", "inputs", "outputs", "system", "matrix_form", "pre", "latex", "to_dict", "lambdify",
    "verify", "gradient", "jacobian", "boundary", "boundaries", "explain", "_repr_latex_",
}  # fmt: skip


@pytest.mark.parametrize("name", [n for n in nneq.__all__ if n != "__version__"])
def test_a_public_name_is_documented_where_it_lives(name):
    """Every exported class and function has a docstring and lives in this package."""
    found = getattr(nneq, name)
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        pytest.skip("a type alias or a constant")

    assert found.__module__.startswith("nneq."), f"{name} comes from {found.__module__}"
    assert inspect.getdoc(found), f"{name} has no docstring"


def test_the_homes_are_the_exports():
    """Every name with a home is exported, and the other way round."""
    assert set(nneq._HOMES) | {"__version__"} == set(nneq.__all__)


def test_an_unknown_name_is_an_attribute_error():
    """The lazy loader behaves as a module does."""
    with pytest.raises(AttributeError, match="module 'nneq' has no attribute 'to_equation'"):
        _ = nneq.to_equation


def test_equations_have_the_promised_members():
    """The methods and properties of the contract exist and are documented."""
    missing = {name for name in METHODS if name != "network" and not hasattr(nneq.Equations, name)}

    assert set() == missing
    public = {n: m for n, m in vars(nneq.Equations).items() if not n.startswith("_")}
    assert all(inspect.getdoc(member) for member in public.values())


@pytest.mark.parametrize("function", [nneq.to_network, nneq.to_equations])
def test_the_import_functions_take_keywords_only(function):
    """The model is the one positional argument."""
    parameters = inspect.signature(function).parameters
    promised = {"example_inputs", "input_names", "output_names"}

    assert promised <= set(parameters)
    assert all(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in promised)


def test_the_errors_are_also_the_builtin_ones():
    """A user may catch them as ValueError, NotImplementedError and ImportError."""
    assert issubclass(nneq.NneqError, ValueError)
    assert issubclass(nneq.UnsupportedError, nneq.NneqError)
    assert issubclass(nneq.UnsupportedError, NotImplementedError)
    assert issubclass(nneq.MissingDependencyError, nneq.NneqError)
    assert issubclass(nneq.MissingDependencyError, ImportError)


def test_building_equations_loads_no_framework_and_no_sympy():
    """Numbers and text of a network need NumPy and SciPy only."""
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from zoo_networks import mlp\n"
        "import nneq\n"
        "eqs = nneq.to_equations(mlp([2, 3, 2]))\n"
        "str(eqs), eqs([[0.1, 0.2]]), eqs.lambdify(), eqs.matrix_form(), eqs.latex()\n"
        "heavy = {'sympy', 'torch', 'keras', 'tensorflow', 'onnx', 'flint'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == found.stdout.strip()
