"""One scalar function per file; importing this package enters them all in ``RULES``."""

from __future__ import annotations

from nneq.activations import (
    abs as _abs,
)
from nneq.activations import (
    acos as _acos,
)
from nneq.activations import (
    acosh as _acosh,
)
from nneq.activations import (
    asin as _asin,
)
from nneq.activations import (
    asinh as _asinh,
)
from nneq.activations import (
    atan as _atan,
)
from nneq.activations import (
    atanh as _atanh,
)
from nneq.activations import (
    ceil as _ceil,
)
from nneq.activations import (
    celu as _celu,
)
from nneq.activations import (
    clip as _clip,
)
from nneq.activations import (
    cos as _cos,
)
from nneq.activations import (
    cosh as _cosh,
)
from nneq.activations import (
    elu as _elu,
)
from nneq.activations import (
    erf as _erf,
)
from nneq.activations import (
    exp as _exp,
)
from nneq.activations import (
    floor as _floor,
)
from nneq.activations import (
    gelu as _gelu,
)
from nneq.activations import (
    gelu_tanh as _gelu_tanh,
)
from nneq.activations import (
    hard_shrink as _hard_shrink,
)
from nneq.activations import (
    hard_sigmoid as _hard_sigmoid,
)
from nneq.activations import (
    hard_swish as _hard_swish,
)
from nneq.activations import (
    leaky_relu as _leaky_relu,
)
from nneq.activations import (
    log as _log,
)
from nneq.activations import (
    log_sigmoid as _log_sigmoid,
)
from nneq.activations import (
    mish as _mish,
)
from nneq.activations import (
    power as _power,
)
from nneq.activations import (
    reciprocal as _reciprocal,
)
from nneq.activations import (
    relu as _relu,
)
from nneq.activations import (
    round as _round,
)
from nneq.activations import (
    selu as _selu,
)
from nneq.activations import (
    sigmoid as _sigmoid,
)
from nneq.activations import (
    sign as _sign,
)
from nneq.activations import (
    silu as _silu,
)
from nneq.activations import (
    sin as _sin,
)
from nneq.activations import (
    sinh as _sinh,
)
from nneq.activations import (
    soft_shrink as _soft_shrink,
)
from nneq.activations import (
    softplus as _softplus,
)
from nneq.activations import (
    softsign as _softsign,
)
from nneq.activations import (
    sqrt as _sqrt,
)
from nneq.activations import (
    square as _square,
)
from nneq.activations import (
    tan as _tan,
)
from nneq.activations import (
    tanh as _tanh,
)
from nneq.activations import (
    thresholded_relu as _thresholded_relu,
)
from nneq.activations import (
    trunc as _trunc,
)
from nneq.activations.rule import RULES, Piece, Rule, rule

__all__ = ["RULES", "Piece", "Rule", "rule"]

_DECLARED = (
    _abs,
    _acos,
    _acosh,
    _asin,
    _asinh,
    _atan,
    _atanh,
    _ceil,
    _celu,
    _clip,
    _cos,
    _cosh,
    _elu,
    _erf,
    _exp,
    _floor,
    _gelu,
    _gelu_tanh,
    _hard_shrink,
    _hard_sigmoid,
    _hard_swish,
    _leaky_relu,
    _log,
    _log_sigmoid,
    _mish,
    _power,
    _reciprocal,
    _relu,
    _round,
    _selu,
    _sigmoid,
    _sign,
    _silu,
    _sin,
    _sinh,
    _soft_shrink,
    _softplus,
    _softsign,
    _sqrt,
    _square,
    _tan,
    _tanh,
    _thresholded_relu,
    _trunc,
)
