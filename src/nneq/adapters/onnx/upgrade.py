"""Models of opsets 1 to 6, through the package's own converter."""

from __future__ import annotations

from onnx import ModelProto, checker, shape_inference, version_converter

from nneq.errors import UnsupportedError, problems_message

__all__ = ["upgraded"]

_OLDEST, _TARGET = 7, 8


def upgraded(model: ModelProto) -> ModelProto:
    """Return a model of opset 7 or newer: the model itself, or what the converter makes of it.

    Raises:
        UnsupportedError: when the converter cannot; its reason is in the message.
    """
    versions = [o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}]
    version = versions[0] if versions else (1 if not model.opset_import else _OLDEST)
    if version >= _OLDEST:
        return model
    try:
        return version_converter.convert_version(model, _TARGET)
    except (
        RuntimeError,
        ValueError,
        TypeError,
        checker.ValidationError,
        shape_inference.InferenceError,
    ) as error:
        operators = sorted({node.op_type for node in model.graph.node})
        reason = " ".join(str(error).split())[:300]
        problem = f"opset {version} with the operators {', '.join(operators)}: {reason}"
        raise UnsupportedError(
            problems_message(
                "the model is too old to be converted",
                [problem],
                "export it again with opset 7 or newer",
            )
        ) from None
