"""PyTorch models as networks: modules, exported programs and ``.pt2`` files."""

from __future__ import annotations

from nneq.adapters.torch.importing import import_model
from nneq.adapters.torch.memory import Watch, watch
from nneq.adapters.torch.weights import weights_of

__all__ = ["Watch", "import_model", "watch", "weights_of"]
