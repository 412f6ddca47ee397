"""Which TensorFlow operations a SavedModel can reach, and whether each is on the allow-list `allowed_ops.txt`.

A SavedModel is a program: WriteFile in a signature writes to this machine's disk. Walked are the graph behind every signature and behind
the initialiser, and all functions that they name. The restore operation, which the loader runs once, may read variables besides; the save
operation is not run by a server, and is not looked at.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from serving.model_server.errors import invalid

ALLOWED_FILE = Path(__file__).with_name("allowed_ops.txt")
RESTORE_ONLY = frozenset({"RestoreV2", "AssignVariableOp"})
_INITIALISERS = ("saved_model_main_op", "legacy_init_op")


def read_allowed(path: Path = ALLOWED_FILE) -> frozenset[str]:
    """One operation a line; what follows # is a comment."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return frozenset(line for line in lines if line)


def check(folder: Path, allowed: frozenset[str]) -> None:
    """ServingError(INVALID_ARGUMENT) names every reachable operation of the SavedModel that is not allowed."""
    try:
        saved = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    except (OSError, DecodeError) as error:
        raise invalid(f"Could not read {folder / 'saved_model.pb'}: {error}") from None
    refused = {op for graph in saved.meta_graphs for op in served_ops(graph) - allowed}
    refused |= {op for graph in saved.meta_graphs for op in _ops_behind(graph, [graph.saver_def.restore_op_name]) - allowed - RESTORE_ONLY}
    if refused:
        raise invalid(f"A model must use only the operations in {ALLOWED_FILE.name}. {folder} reaches {', '.join(sorted(refused))}")


def served_ops(graph: meta_graph_pb2.MetaGraphDef) -> set[str]:
    """Operations that requests and the initialiser can run."""
    tensors = [info for signature in graph.signature_def.values() for info in (*signature.inputs.values(), *signature.outputs.values())]
    roots = [part.name for info in tensors for part in (info, *info.composite_tensor.components)]
    roots += [name for key in _INITIALISERS for name in graph.collection_def[key].node_list.value] if graph.collection_def else []
    return _ops_behind(graph, [*roots, *(part.name for info in tensors for part in _sparse_parts(info))])


def _sparse_parts(info: meta_graph_pb2.TensorInfo) -> Iterator[Any]:
    coo = info.coo_sparse
    for name in (coo.values_tensor_name, coo.indices_tensor_name, coo.dense_shape_tensor_name):
        yield meta_graph_pb2.TensorInfo(name=name)


def _ops_behind(graph: meta_graph_pb2.MetaGraphDef, roots: Iterable[str]) -> set[str]:
    nodes = {node.name: node for node in graph.graph_def.node}
    library = {function.signature.name: function for function in graph.graph_def.library.function}
    ops: set[str] = set()
    seen_nodes: set[str] = set()
    seen_functions: set[str] = set()
    waiting, called = [_node_name(root) for root in roots if root], list[str]()
    while waiting or called:
        if called:
            name = called.pop()
            if name in seen_functions:
                continue
            seen_functions.add(name)
            found = library[name].node_def if name in library else []
        else:
            name = waiting.pop()
            if name in seen_nodes or name not in nodes:
                continue
            seen_nodes.add(name)
            found = [nodes[name]]
            waiting += [_node_name(source) for source in nodes[name].input]
        for node in found:
            if node.op in library:
                called.append(node.op)  # a function may be called by its name as the operation
            else:
                ops.add(node.op)
            called += _functions_named(node)
    return ops


def _functions_named(node: Any) -> Iterator[str]:
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)


def _node_name(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]
