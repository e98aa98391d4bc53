"""The shape of an untrusted graph: order, cycles, missing values, and its size once expanded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto

from nneq.adapters.onnx.limits import MAX_DEPTH, MAX_NODES
from nneq.errors import NneqError, UnsupportedError, problems_message

__all__ = [
    "FunctionKey",
    "check_expansion",
    "check_text",
    "domain_of",
    "function_key",
    "needed",
    "node_label",
    "ordered",
    "reads",
    "subgraphs",
]

FunctionKey = tuple[str, str, str]


def domain_of(node: NodeProto) -> str:
    """Return the node's domain with the standard one as the empty text."""
    return "" if node.domain == "ai.onnx" else node.domain


def function_key(node: NodeProto) -> FunctionKey:
    """Return domain, name and overload of the function a node may call."""
    return (domain_of(node), node.op_type, node.overload)


def node_label(node: NodeProto, place: int | None = None) -> str:
    """Return a short text that names a node: its name, its first output, or its place."""
    name = node.name or next((out for out in node.output if out), "")
    if not name:
        name = f"{node.op_type or 'node'} number {place}" if place is not None else node.op_type
    return name if len(name) <= 120 else name[:117] + "..."


def subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    """Yield the graphs among a node's attributes."""
    for found in node.attribute:
        if found.type == AttributeProto.GRAPH or found.HasField("g"):
            yield found.g
        yield from found.graphs


def reads(node: NodeProto) -> set[str]:
    """Return the names a node reads, those of its subgraphs included (an upper bound)."""
    found = {name for name in node.input if name}
    for graph in subgraphs(node):
        for inner in graph.node:
            found |= reads(inner)
        found.update(port.name for port in graph.output)
    return found


def _strict_reads(node: NodeProto) -> set[str]:
    """Return the outer names a node needs: its operands and its subgraphs' free names."""
    found = {name for name in node.input if name}
    for graph in subgraphs(node):
        inside = {port.name for port in graph.input} | {t.name for t in graph.initializer}
        inside |= {t.values.name for t in graph.sparse_initializer}
        wanted: set[str] = set()
        for inner in graph.node:
            wanted |= _strict_reads(inner)
            inside.update(inner.output)
        wanted.update(port.name for port in graph.output)
        found |= wanted - inside
    return found


def ordered(nodes: Sequence[NodeProto], known: Iterable[str], where: str) -> list[NodeProto]:
    """Return the nodes so that every value is made before it is read.

    Args:
        nodes: of one graph.
        known: names that exist from the start.
        where: what the graph is, for messages.

    Raises:
        NneqError: for names made twice, missing values and cycles.
    """
    available = set(known)
    maker: dict[str, int] = {}
    problems = []
    for place, node in enumerate(nodes):
        for name in node.output:
            if name and (name in maker or name in available):
                problems.append(f"node {node_label(node, place)!r}: {name!r} is made twice")
            elif name:
                maker[name] = place
    wanted = [_strict_reads(node) for node in nodes]
    waiting: list[set[int]] = []
    readers: dict[int, list[int]] = {}
    for place, names in enumerate(wanted):
        missing = sorted(n for n in names if n not in available and n not in maker)
        for name in missing:
            label = node_label(nodes[place], place)
            problems.append(f"node {label!r} ({nodes[place].op_type}): nothing makes {name!r}")
        before = {maker[n] for n in names if n not in available and n in maker}
        waiting.append(before)
        for other in before:
            readers.setdefault(other, []).append(place)
    if problems:
        remedy = "add the missing initialisers or inputs, and give every value its own name"
        raise NneqError(problems_message(f"{where} is not a valid graph", problems[:20], remedy))
    return _sorted(nodes, waiting, readers, where)


def _sorted(
    nodes: Sequence[NodeProto],
    waiting: list[set[int]],
    readers: Mapping[int, list[int]],
    where: str,
) -> list[NodeProto]:
    import heapq

    ready = [place for place, before in enumerate(waiting) if not before]
    heapq.heapify(ready)
    found = []
    while ready:
        place = heapq.heappop(ready)
        found.append(nodes[place])
        for reader in readers.get(place, ()):
            waiting[reader].discard(place)
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    if len(found) < len(nodes):
        stuck = [node_label(nodes[p], p) for p, before in enumerate(waiting) if before]
        shown = ", ".join(repr(name) for name in stuck[:5])
        msg = f"{where} has a cycle through {shown}; a network must not feed a node into itself"
        raise NneqError(msg)
    return found


def needed(nodes: Sequence[NodeProto], outputs: Iterable[str]) -> list[NodeProto]:
    """Return the nodes (already ordered) that reach the outputs."""
    wanted = set(outputs)
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted |= reads(node)
    return kept[::-1]


def check_text(model: ModelProto) -> None:
    """Refuse a model whose names are not text (a damaged file: bytes that are not UTF-8).

    Raises:
        NneqError: when a name cannot be read.
    """
    names: list[object] = [port.domain for port in model.opset_import]
    graphs: list[GraphProto] = [model.graph]
    nodes: list[NodeProto] = []
    for function in model.functions:
        names += [function.name, function.domain, *function.input, *function.output]
        names += function.attribute
        nodes += function.node
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            names += [graph.name, *(t.name for t in graph.initializer)]
            names += [port.name for port in (*graph.input, *graph.output)]
            names += [sparse.values.name for sparse in graph.sparse_initializer]
            nodes += graph.node
            continue
        node = nodes.pop()
        names += [node.name, node.op_type, node.domain, node.overload, *node.input, *node.output]
        names += [found.name for found in node.attribute]
        graphs += subgraphs(node)
    if not all(isinstance(name, str) for name in names):
        msg = "names in the graph are not text (UTF-8): the file is damaged; export it again"
        raise NneqError(msg)


def _every_node(nodes: Iterable[NodeProto], depth: int = 0) -> Iterator[NodeProto]:
    if depth > MAX_DEPTH:
        msg = f"graphs are nested more than {MAX_DEPTH} deep"
        raise UnsupportedError(msg)
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from _every_node(graph.node, depth + 1)


def check_expansion(model: ModelProto, functions: Mapping[FunctionKey, FunctionProto]) -> int:
    """Return how many nodes the model has once its own functions are expanded.

    The count is made on the call graph, so a file of a few kilobytes whose functions would unfold
    into 2**40 nodes costs nothing.

    Raises:
        NneqError: when functions call themselves.
        UnsupportedError: when the count or the nesting is above the limit.
    """
    calls: dict[FunctionKey, list[FunctionKey]] = {}
    own: dict[FunctionKey, int] = {}
    for key, function in functions.items():
        inner = list(_every_node(function.node))
        own[key] = len(inner)
        calls[key] = [k for k in map(function_key, inner) if k in functions]
    waiting = {key: set(called) for key, called in calls.items()}
    total: dict[FunctionKey, int] = {}
    depth: dict[FunctionKey, int] = {}
    callers: dict[FunctionKey, list[FunctionKey]] = {}
    for key, called in waiting.items():
        for other in called:
            callers.setdefault(other, []).append(key)
    ready = [key for key, called in waiting.items() if not called]
    while ready:
        key = ready.pop()
        total[key] = own[key] + sum(total[k] for k in calls[key])
        depth[key] = 1 + max((depth[k] for k in calls[key]), default=0)
        for caller in callers.get(key, ()):
            waiting[caller].discard(key)
            if not waiting[caller]:
                ready.append(caller)
    if len(total) < len(functions):
        name = next(key[1] for key in functions if key not in total)
        msg = f"function {name!r} of the model calls itself; export it without recursion"
        raise NneqError(msg)
    main = list(_every_node(model.graph.node))
    count = len(main) + sum(total[k] for k in map(function_key, main) if k in functions)
    deepest = max((depth[k] for k in map(function_key, main) if k in functions), default=0)
    if count > MAX_NODES:
        msg = (
            f"the model has {min(count, 10**18):.3g} nodes or more once its functions are "
            f"expanded; the limit is {MAX_NODES}: export a smaller part of it"
        )
        raise UnsupportedError(msg)
    if deepest > MAX_DEPTH:
        msg = f"functions are nested {deepest} deep; the limit is {MAX_DEPTH}: export without them"
        raise UnsupportedError(msg)
    return count
