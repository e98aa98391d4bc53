"""SymPy functions made from the activation rules, one class per rule.

SymPy's own ``tanh`` and its like walk their argument whenever they are built, fold constants that
overflow, and recurse.  These classes do none of that: they evaluate a plain number and nothing
else, and expand only when asked (``rewrite(sympy.exp)``, ``expand(func=True)``).  Everything they
know comes from the rule: the formula, the derivative, the pieces.
"""

from __future__ import annotations

from typing import Any, ClassVar

import mpmath
import numpy as np
import sympy

from nneq.activations import RULES
from nneq.symbolic.elementary import MpElementary, SympyElementary
from nneq.symbolic.latex import function_latex

__all__ = ["ACTIVATIONS", "Activation", "Largest", "activation"]

_NATIVE = {"square", "reciprocal", "power", "sqrt", "exp", "log"}
_MOST_BITS = 1 << 13


class Activation(sympy.Function):
    """``f(z, *params)``; abstract: one final class per activation rule."""

    rule_name: ClassVar[str] = ""

    @classmethod
    def eval(cls, *args: Any) -> Any:
        """Evaluate plain floating-point numbers; everything else stays as it is written."""
        z, *params = args
        if z.is_Float and all(p.is_Number for p in params):
            return sympy.Float(cls._enclosed(z, params, z._prec), precision=z._prec)  # noqa: SLF001
        return None

    @classmethod
    def _params(cls, params: Any) -> dict[str, Any]:
        return dict(zip(RULES[cls.rule_name].defaults, params, strict=True))

    @classmethod
    def _enclosed(cls, z: Any, params: Any, prec: int) -> Any:
        """Return the value to ``prec`` bits: precision is doubled until two results agree."""
        rule = RULES[cls.rule_name]
        certain = rule.kind in {"piecewise-linear", "step"} or not z
        bits = prec + 32
        last: Any = None
        while True:
            with mpmath.workprec(bits):
                exact = {key: _mp(value, bits) for key, value in cls._params(params).items()}
                found = rule.formula(_mp(z, bits), MpElementary(mpmath), exact)
                if not isinstance(found, mpmath.mpf):
                    return found if not isinstance(found, mpmath.mpc) else mpmath.mpf("nan")._mpf_
                same = last is not None and (found or certain)  # 0 may be a cancellation
                if same and abs(found - last) <= abs(found) * mpmath.mpf(2) ** -(prec + 8):
                    return found._mpf_
            if bits > _MOST_BITS:
                return found._mpf_
            last = found
            bits *= 2

    def _eval_evalf(self, prec: int) -> Any:
        z, *params = self.args
        value = z._eval_evalf(prec + 16) if not z.is_Number else z  # noqa: SLF001  # SymPy's protocol
        value = z if value is None else value
        if value.is_Number and all(p.is_Number for p in params):
            return sympy.Float(self._enclosed(value, params, prec), precision=prec)
        return self.func(value, *params, evaluate=False)

    def fdiff(self, argindex: int = 1) -> Any:
        """Return the derivative in the first argument, from the rule."""
        if argindex != 1:
            raise sympy.ArgumentIndexError(self, argindex)
        z, *params = self.args
        rule = RULES[self.rule_name]
        fn = SympyElementary(activation)
        if rule.derivative is not None:
            return rule.derivative(z, fn, self._params(params))
        if self.rule_name == "floor":
            return sympy.Integer(0)
        dummy = sympy.Dummy("z")
        own = activation if rule.kind == "step" else None
        formula = rule.formula(dummy, SympyElementary(own), self._params(params))
        return sympy.diff(formula, dummy).xreplace({dummy: z})

    def formula(self) -> Any:
        """Return the rule's formula in SymPy's own functions."""
        z, *params = self.args
        return RULES[self.rule_name].formula(z, SympyElementary(None), self._params(params))

    def _eval_expand_func(self, **_hints: Any) -> Any:
        return self.formula()

    def _eval_rewrite_as_exp(self, *_args: Any, **_kwargs: Any) -> Any:
        return self.formula().rewrite(sympy.exp)

    def _eval_rewrite_as_tanh(self, *_args: Any, **_kwargs: Any) -> Any:
        return self.formula().rewrite(sympy.tanh)

    def _eval_rewrite_as_Piecewise(self, *_args: Any, **_kwargs: Any) -> Any:
        return self.formula()

    def _sympystr(self, printer: Any) -> str:
        return f"{self.rule_name}({', '.join(printer._print(arg) for arg in self.args)})"  # noqa: SLF001

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        z, *params = self.args
        head = function_latex(self.rule_name)
        lower = ", ".join(printer._print(p) for p in params)  # noqa: SLF001
        head += f"_{{{lower}}}" if lower else ""
        head += f"^{{{exp}}}" if exp else ""
        return rf"{head}\left({printer._print(z)}\right)"  # noqa: SLF001


def _mp(value: Any, bits: int) -> Any:
    if isinstance(value, float):
        return mpmath.mpf(value)
    return value._to_mpmath(bits)  # noqa: SLF001  # SymPy's own protocol


def _class_of(name: str) -> type[Activation]:
    rule = RULES[name]
    title = "".join(part.capitalize() for part in name.split("_"))
    keys = tuple(rule.defaults)

    def numeric(z: Any, *params: Any) -> Any:
        return rule.numeric(np.asarray(z, dtype=np.float64), dict(zip(keys, params, strict=True)))

    body = {
        "__doc__": f"The activation ``{name}`` as a SymPy function of its pre-activation.",
        "__module__": __name__,
        "rule_name": name,
        "nargs": 1 + len(keys),
        "_imp_": staticmethod(numeric),
    }
    return type(title, (Activation,), body)


ACTIVATIONS: dict[str, type[Activation]] = {
    name: _class_of(name) for name in RULES if name not in _NATIVE
}
globals().update({cls.__name__: cls for cls in ACTIVATIONS.values()})


def activation(name: str, z: Any, params: Any = ()) -> Any:
    """Return the activation of ``z``, unevaluated unless ``z`` is a plain number.

    Args:
        name: the rule's name.
        z: a SymPy expression.
        params: the rule's parameters in declared order.
    """
    match name:
        case "square":
            return sympy.Pow(z, 2, evaluate=False)
        case "reciprocal":
            return sympy.Pow(z, -1, evaluate=False)
        case "power":
            return sympy.Pow(z, _exponent(params[0]), evaluate=False)
        case "sqrt":
            return sympy.Pow(z, sympy.Rational(1, 2), evaluate=False)
        case "exp":
            return sympy.exp(z, evaluate=False)
        case "log":
            return sympy.log(z, evaluate=False)
        case _:
            return ACTIVATIONS[name](z, *params, evaluate=bool(z.is_Float))


def _exponent(value: Any) -> Any:
    number = float(value)
    return sympy.Integer(int(number)) if number.is_integer() else value


class Largest(sympy.Function):
    """``max(a, b, ...)`` that compares nothing until every argument is a number."""

    @classmethod
    def eval(cls, *args: Any) -> Any:
        """Return the largest argument when all are numbers."""
        if all(arg.is_Number for arg in args):
            return max(args)
        return None

    def _eval_evalf(self, prec: int) -> Any:
        values = [arg._eval_evalf(prec) for arg in self.args]  # noqa: SLF001
        return self.func(*(a if v is None else v for a, v in zip(self.args, values, strict=True)))

    def fdiff(self, argindex: int = 1) -> Any:
        """Return 1 where the argument is the largest (the first one, where several are), else 0."""
        chosen = self.args[argindex - 1]
        others = [
            sympy.Gt(chosen, other, evaluate=False)
            if k < argindex - 1
            else sympy.Ge(chosen, other, evaluate=False)
            for k, other in enumerate(self.args)
            if k != argindex - 1
        ]
        condition = sympy.And(*others, evaluate=False)
        return sympy.Piecewise((1, condition), (0, True), evaluate=False)

    def _eval_rewrite_as_Max(self, *args: Any, **_kwargs: Any) -> Any:
        return sympy.Max(*args)

    def _eval_rewrite_as_Piecewise(self, *args: Any, **_kwargs: Any) -> Any:
        return sympy.Max(*args).rewrite(sympy.Piecewise)

    def _eval_expand_func(self, **_hints: Any) -> Any:
        return sympy.Max(*self.args)

    @staticmethod
    def _imp_(*values: Any) -> Any:
        return np.maximum.reduce(np.broadcast_arrays(*values))

    def _sympystr(self, printer: Any) -> str:
        return f"max({', '.join(printer._print(arg) for arg in self.args)})"  # noqa: SLF001

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        inner = ", ".join(printer._print(arg) for arg in self.args)  # noqa: SLF001
        power = f"^{{{exp}}}" if exp else ""
        return rf"\max{power}\left({inner}\right)"
