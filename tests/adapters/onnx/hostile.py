"""Files and graphs that try to hurt: built here, each with the text its error must hold.

``python hostile.py FOLDER`` reads all of them in one process and prints the peak memory used.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import numpy as np
import onnx
from adapters.onnx.graphs import mlp, model, node, port, stored, whole
from onnx import TensorProto, helper

from nneq.adapters.onnx import import_model
from nneq.errors import NneqError

X, Y = [("x", [1, 4])], [("y", None)]
IMAGE = [("x", [1, 1, 4, 4])]
KERNEL = stored("w", np.ones((1, 1, 2, 2)))


def on_disk(folder: Path):
    """Yield ``(name, path, text)`` of paths that are no model."""
    yield "missing path", folder / "nope.onnx", "no such file"
    yield "folder", folder, "a folder, not a file"
    os.mkfifo(folder / "pipe.onnx")
    yield "pipe", folder / "pipe.onnx", "a pipe, not a file"
    yield "device", "/dev/zero", "a device, not a file"
    yield "null byte", "a\0b", "cannot read"
    data = mlp().SerializeToString()
    contents = {
        "empty": (b"", "is empty"),
        "truncated": (data[: len(data) // 2], "cut off"),
        "picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4, "is not an ONNX model"),
        "archive": (b"PK\x03\x04" + bytes(range(256)) * 4, "is not an ONNX model"),
        "pickle": (b"\x80\x04\x95" + bytes(range(256)) * 4, "is not an ONNX model"),
        "text": (b"hello world\n" * 100, "is not an ONNX model"),
        "zeros": (bytes(4096), "is not an ONNX model"),
        "two million nodes": (_many_nodes(2_000_000), "nodes or more; the limit is"),
    }
    for name, (content, text) in contents.items():
        path = folder / f"{name}.onnx"
        path.write_bytes(content)
        yield name, path, text


def _many_nodes(count: int) -> bytes:
    head = onnx.ModelProto(ir_version=8)
    head.opset_import.add().version = 13
    body = b"\x0a\x00" * count
    length, size = bytearray(), len(body)
    while True:
        length.append(size & 127 | (128 if size > 127 else 0))
        size >>= 7
        if not size:
            return head.SerializeToString() + b"\x3a" + bytes(length) + body


def external(folder: Path):
    """Yield models whose weights lie where they must not."""
    (folder / "good.bin").write_bytes(np.ones(12, np.float32).tobytes())
    (folder / "sub").mkdir()
    (folder / "link.bin").symlink_to("/etc/passwd")
    os.mkfifo(folder / "fifo.bin")
    inside = "must be a regular file inside"
    wanted = {
        "outside": ({"location": "../../etc/passwd"}, inside),
        "absolute": ({"location": "/etc/passwd"}, inside),
        "link out": ({"location": "link.bin"}, inside),
        "pipe": ({"location": "fifo.bin"}, inside),
        "folder": ({"location": "sub"}, inside),
        "nothing": ({"location": ""}, inside),
        "null byte": ({"location": "a\0b"}, inside),
        "missing": ({"location": "none.bin"}, "is missing"),
        "past the end": ({"location": "good.bin", "offset": "16"}, "the file has 48"),
        "before the start": ({"location": "good.bin", "offset": "-4"}, "the file has 48"),
        "too short": ({"location": "good.bin", "length": "8"}, "48 bytes are needed"),
        "text offset": ({"location": "good.bin", "offset": "zz"}, "must be integers"),
        "gigantic": ({"location": "good.bin", "dims": [10**6, 10**6]}, "the file has 48"),
    }
    for k, (name, (entries, text)) in enumerate(wanted.items()):
        tensor = TensorProto(name="w", data_type=1, data_location=TensorProto.EXTERNAL)
        tensor.dims.extend(entries.pop("dims", [4, 3]))
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
        built = model([node("MatMul", "x w", "y")], X, Y, [tensor])
        path = folder / f"external{k}.onnx"
        path.write_bytes(built.SerializeToString())
        yield f"external data {name}", path, text
    yield "external data of a model object", built, "give the path of the model"


def _functions(count: int, calls: int):
    made = []
    for k in range(count):
        last = k == count - 1
        nodes = [
            helper.make_node(
                "Relu" if last else f"f{k + 1}",
                ["a" if j == 0 else f"t{j - 1}"],
                ["b" if j == calls - 1 else f"t{j}"],
                domain="" if last else "local",
            )
            for j in range(calls)
        ]
        imports = [helper.make_opsetid("", 13), helper.make_opsetid("local", 1)]
        made.append(helper.make_function("local", f"f{k}", ["a"], ["b"], nodes, imports))
    return made


def _calling(functions):
    return model(
        [node("f0", "x", "y", domain="local")], X, Y, functions=functions, domains=["local"]
    )


def structure():
    """Yield graphs that are not graphs, or unfold without end."""
    yield (
        "cycle",
        model([node("Add", "x b", "a"), node("Relu", "a", "b"), node("Relu", "b", "y")], X, Y),
        "has a cycle through 'a', 'b', 'y'",
    )
    yield (
        "cycle of moves",
        model([node("Identity", "y", "a"), node("Identity", "a", "y")], X, Y),
        "has a cycle through",
    )
    yield "self cycle", model([node("Add", "x y", "y")], X, Y), "has a cycle through 'y'"
    yield "missing weight", model([node("MatMul", "x w", "y")], X, Y), "nothing makes 'w'"
    yield "missing output", model([node("Relu", "x", "z")], X, Y), "nothing makes the output 'y'"
    yield "no output", model([node("Relu", "x", "z")], X, []), "has no output"
    yield "no graph", onnx.ModelProto(ir_version=8), "has no output"
    yield (
        "value made twice",
        model([node("Relu", "x", "y"), node("Abs", "x", "y")], X, Y),
        "'y' is made twice",
    )
    yield (
        "weight stored twice",
        model([node("Add", "x w", "y")], X, Y, [stored("w", np.ones(4)), stored("w", np.ones(4))]),
        "'w' is stored twice",
    )
    yield "input twice", model([node("Relu", "x", "y")], X + X, Y), "declared twice"
    yield "2**40 nodes of functions", _calling(_functions(40, 2)), "once its functions are expanded"
    yield "2**3000 nodes", _calling(_functions(3000, 2)), "once its functions are expanded"
    yield "functions 3000 deep", _calling(_functions(3000, 1)), "nested 3000 deep"
    imports = [helper.make_opsetid("local", 1)]
    self_call = [node("f0", "a", "b", domain="local")]
    recursive = helper.make_function("local", "f0", ["a"], ["b"], self_call, imports)
    yield "recursive function", _calling([recursive]), "calls itself"
    body = helper.make_graph(
        [node("Identity", "c", "d"), node("Relu", "a", "b")], "body",
        [port("i", [], TensorProto.INT64), port("c", [], TensorProto.BOOL), port("a", [1, 4])],
        [port("d", [], TensorProto.BOOL), port("b", [1, 4])],
    )  # fmt: skip
    loop = helper.make_node("Loop", ["n", "", "x"], ["y"], body=body)
    yield "a billion rounds", model([loop], X, Y, [whole("n", 10**9)]), "unrolls to more than"
    yield (
        "unknown operators",
        model([node("Frob", "x", "a"), node("Bar", "a", "y", domain="c")], X, Y, domains=["c"]),
        "there is no such operator in c",
    )
    yield (
        "domain not imported",
        model([node("Bar", "x", "y", domain="com.acme")], X, Y),
        "imports no opset for the domain 'com.acme'",
    )
    yield "future opset", model([node("Relu", "x", "y")], X, Y, opset=9999), "upgrade onnx"
    yield (
        "attribute of another kind",
        model([node("Softmax", "x", "y", axis="zz")], X, Y),
        "attribute 'axis' is of kind STRING",
    )
    yield "missing attribute", model([node("Concat", "x x", "y")], X, Y), "'axis' is required"
    yield (
        "symbolic axes",
        model([node("Relu", "x", "y")], [("x", ["N", "T"])], Y),
        "give example_inputs",
    )
    yield (
        "text input",
        model([node("Identity", "x", "y")], [port("x", [1], TensorProto.STRING)], Y),
        "element type STRING is not supported",
    )


def weights():
    """Yield stored tensors that lie."""
    lying = TensorProto(name="w", data_type=1, dims=[10**9, 10**9], raw_data=b"\0\0\0\0")
    negative = TensorProto(name="w", data_type=1, dims=[-4, 3], raw_data=b"\0" * 48)
    strange = TensorProto(name="w", data_type=99, dims=[4, 3], raw_data=b"\0" * 48)
    nan, infinite = np.ones((4, 3)), np.ones((4, 3))
    nan[1, 2], infinite[1, 2] = np.nan, np.inf
    product = [node("MatMul", "x w", "y")]
    yield "lying shape", model(product, X, Y, [lying]), "the file holds 4"
    yield "negative shape", model(product, X, Y, [negative]), "is not a shape"
    yield "unknown type", model(product, X, Y, [strange]), "element type number 99"
    yield "nan weight", model(product, X, Y, [stored("w", nan)]), "'w' holds NaN"
    yield "infinite weight", model(product, X, Y, [stored("w", infinite)]), "not finite"


def sizes():
    """Yield small graphs that ask for gigantic tensors."""
    side = [16_000, 16_000]
    ones = [node("ConstantOfShape", "s", "c")]
    tail = [node("ReduceSum", "e", "r"), node("Add", "x r", "y")]
    column, row = stored("v", np.ones((100_000, 1))), stored("w", np.ones((1, 100_000)))
    three = [stored(name, value) for name, value in zip("abc", (0, 1e12, 1), strict=True)]
    limit = "the limit is"
    yield "input", model([node("Relu", "x", "y")], [("x", [1, 10**6, 10**6])], Y), limit
    shape = whole("s", [10**9, 10**9])
    yield "constant", model([*ones, node("Add", "x c", "y")], X, Y, [shape]), limit
    for op in ("Exp", "EyeLike", "Neg", "Not"):
        yield op, model([*ones, node(op, "c", "e"), *tail], X, Y, [whole("s", side)]), limit
    yield "sum", model([node("Add", "v w", "e"), *tail], X, Y, [column, row]), limit
    yield "product", model([node("MatMul", "v w", "e"), *tail], X, Y, [column, row]), limit
    yield "range", model([node("Range", "a b c", "e"), *tail], X, Y, three), limit
    shape = whole("s", [10**6, 10**6, 4])
    yield "expand", model([node("Expand", "x s", "y")], X, Y, [shape]), limit
    wide = [node("Expand", "x s", f"e{k}") for k in range(8)]
    names = " ".join(f"e{k}" for k in range(8))
    shape = whole("s", [2_000_000, 4])
    yield (
        "many large tensors",
        model([*wide, node("Max", names, "y")], X, Y, [shape]),
        "numbers at once",
    )
    shape = whole("s", [10**6, 10**6])
    yield "tile", model([node("Tile", "x s", "y")], X, Y, [shape]), limit
    shape = whole("s", [0, 10**12, 0, 10**12])
    yield "pad", model([node("Pad", "x s", "y")], X, Y, [shape]), limit
    index = whole("i", [0, 1, 1] * 1000)
    taken = node("Gather", "x i", "y", axis=1)
    yield "gather", model([taken], [("x", [1, 4, 10**6])], Y, [index]), limit
    doubling = [
        node("Concat", f"{'x' if k == 0 else f't{k}'} " * 2, f"t{k + 1}" if k < 99 else "y", axis=1)
        for k in range(100)
    ]
    yield "doubling", model(doubling, X, Y), limit
    wide = node("Conv", "x w", "y", pads=[10**9] * 4, strides=[10**9] * 2)
    yield "padded convolution", model([wide], IMAGE, Y, [KERNEL]), limit
    far = node("Conv", "x w", "y", dilations=[10**15] * 2)
    yield "dilated convolution", model([far], IMAGE, Y, [KERNEL]), "negative extent"
    still = node("Conv", "x w", "y", strides=[0, 0])
    yield "stride 0", model([still], IMAGE, Y, [KERNEL]), "strides"
    for op in ("MaxPool", "AveragePool", "LpPool"):
        pool = node(op, "x", "y", kernel_shape=[10**5, 10**5], pads=[50_000] * 4)
        yield op, model([pool], IMAGE, Y), limit
    scales = stored("s", [1, 1, 1e8, 1e8])
    resize = helper.make_node("Resize", ["x", "", "s"], ["y"])
    yield "resize", model([resize], IMAGE, Y, [scales]), limit
    depth = [whole("d", 10**12), stored("v", [0, 1])]
    integers = [port("x", [1, 4], TensorProto.INT64)]
    yield "one-hot", model([node("OneHot", "x d v", "y")], integers, Y, depth), limit
    k = whole("k", [5])
    top = node("TopK", "x k", "y j")
    yield "top-k", model([top], [("x", [1, 100_000])], Y, [k]), "too many comparisons"
    run = node("CumSum", "x k", "y")
    yield "running sum", model([run], [("x", [1, 100_000])], Y, [whole("k", 1)]), "a running sum"
    yield (
        "axes",
        model([node("Unsqueeze", "x s", "y")], X, Y, [whole("s", list(range(100)))]),
        "axes; the limit is",
    )
    einsum = node("Einsum", "x x", "y", equation="ab,cd->abcdabcd")
    yield "einsum", model([einsum], X, Y), "is not made by its operands"


def corpus(folder: Path):
    """Yield every ``(name, model or path, text)``."""
    for source in (on_disk(folder), external(folder), structure(), weights(), sizes()):
        yield from source


CHAINS = {
    "Relu": None,
    "Neg": None,
    "Identity": None,
    "Transpose": None,
    "Add": np.ones(4),
    "MatMul": np.eye(4),
}


def chain(op):
    """Return a chain of 10,000 nodes of one operator, which is legal."""
    length = 10_000
    second = CHAINS[op]
    names = ["x", *(f"t{k}" for k in range(length - 1)), "y"]
    tail = "" if second is None else " w"
    nodes = [node(op, names[k] + tail, names[k + 1]) for k in range(length)]
    return model(nodes, X, Y, [] if second is None else [stored("w", second)])


def _peak() -> int:
    """Return the peak memory of this process in KiB (the parent's own peak does not count)."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    return int(found.group(1)) if found else 0


def main(folder: Path) -> None:
    """Read everything and print how far the peak memory rose above the start, in MiB."""
    start = _peak()
    for _, item, _ in corpus(folder):
        try:
            import_model(item)
        except NneqError:
            continue
    for op in CHAINS:
        import_model(chain(op))
    print((_peak() - start) / 1024)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
