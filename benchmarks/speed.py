"""Equations as functions against onnxruntime and torch: one row, and 10,000 rows.

Every time is divided by the peer's time in the same run: below 1 is faster than the peer.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from timing import best_times, shown

import nneq


def mlp(widths: list[int]) -> torch.nn.Sequential:
    """Return a tanh network with random float32 weights."""
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = []
    for n_in, n_out in itertools.pairwise(widths):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.Tanh()]
    return torch.nn.Sequential(*layers[:-1]).eval()


def as_onnx(model: torch.nn.Sequential, n_in: int) -> bytes:
    """Return the same network as an ONNX file."""
    nodes, tensors, name = [], [], "x"
    for k, layer in enumerate(model):
        after = f"t{k}"
        if isinstance(layer, torch.nn.Linear):
            tensors += [
                numpy_helper.from_array(layer.weight.detach().numpy(), f"W{k}"),
                numpy_helper.from_array(layer.bias.detach().numpy(), f"b{k}"),
            ]
            nodes.append(helper.make_node("Gemm", [name, f"W{k}", f"b{k}"], [after], transB=1))
        else:
            nodes.append(helper.make_node("Tanh", [name], [after]))
        name = after
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", n_in])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)],
        tensors,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return made.SerializeToString()


def session(model: bytes | str) -> onnxruntime.InferenceSession:
    """Return an onnxruntime session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def compare(widths: list[int]) -> None:
    """Print the ratios for one network."""
    model = mlp(widths)
    started = time.perf_counter()
    eqs = nneq.to_equations(model, example_inputs=torch.zeros(1, widths[0]))
    read = time.perf_counter() - started
    started = time.perf_counter()
    function = eqs.lambdify()
    compiled = time.perf_counter() - started
    print(
        f"tanh {'-'.join(map(str, widths))}: read in {shown(read)}, lambdified in {shown(compiled)}"
    )
    runtime = session(as_onnx(model, widths[0]))
    for rows in (1, 10_000):
        x64 = np.random.default_rng(0).standard_normal((rows, widths[0]))
        x32 = x64.astype(np.float32)
        tensor32 = torch.from_numpy(x32)
        double = mlp(widths).double()
        tensor64 = torch.from_numpy(x64)

        def in_torch(net: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
            with torch.inference_mode():
                return net(x)

        times = best_times(
            {
                "eqs(x)": lambda x=x64: eqs(x),
                "lambdified": lambda x=x64: function(x),
                "onnxruntime float32": lambda x=x32: runtime.run(None, {"x": x}),
                "torch float32": lambda x=tensor32: in_torch(model, x),
                "torch float64": lambda x=tensor64, net=double: in_torch(net, x),
            }
        )
        print(f"  {rows:,} row{'s' if rows > 1 else ''}")
        for name, seconds in times.items():
            to_runtime = seconds / times["onnxruntime float32"]
            to_torch = seconds / times["torch float32"]
            to_double = seconds / times["torch float64"]
            print(
                f"    {name:20} {shown(seconds):>9}   / onnxruntime {to_runtime:6.2f}"
                f"   / torch float32 {to_torch:6.2f}   / torch float64 {to_double:6.2f}"
            )


def resnet() -> None:
    """Print reading, evaluating and writing of the onnx package's ResNet-50."""
    path = Path(onnx.__file__).parent / "backend/test/data/light/light_resnet50.onnx"
    started = time.perf_counter()
    eqs = nneq.to_equations(str(path))
    print(f"\nResNet-50: read in {shown(time.perf_counter() - started)}")
    network = eqs.network
    print(f"  {network.parameter_count:,} parameters, {len(network.nodes)} nodes")
    shape = (1, *network.inputs[0].shape[1:])
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    runtime = session(str(path))
    label = runtime.get_inputs()[0].name
    times = best_times(
        {
            "eqs(x)": lambda: eqs(x.reshape(1, -1)),
            "onnxruntime float32": lambda: runtime.run(None, {label: x}),
        },
        seconds=5.0,
        least=2,
    )
    for name, seconds in times.items():
        print(
            f"    {name:20} {shown(seconds):>9}   / onnxruntime "
            f"{seconds / times['onnxruntime float32']:6.2f}"
        )
    started = time.perf_counter()
    text = str(eqs.matrix_form())
    print(f"  matrix form: {len(text):,} characters in {shown(time.perf_counter() - started)}")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resnet", action="store_true")
    chosen = parser.parse_args(sys.argv[1:])
    torch.set_num_threads(1)
    compare([2, 16, 16, 2])
    compare([64, 64, 64, 64])
    if chosen.resnet:
        resnet()


if __name__ == "__main__":
    main()
