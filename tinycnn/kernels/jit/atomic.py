"""Whole numbers in arrays that several threads read and write at once, without a lock.

All threads see what these functions do in the same order.
"""

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def load_now(typing_context: Any, array: Any, index: Any) -> Any:
    """Read array[index] from memory each time: an ordinary read in a loop would be done once, before it."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_address(context, builder, signature, arguments), "seq_cst", 8)

    return types.int64(array, types.intp), generate


@intrinsic
def set_now(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Set array[index], for others to see together with all that was written before."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature, arguments)
        builder.store_atomic(arguments[2], address, "seq_cst", 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.int64), generate


@intrinsic
def add(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Increase array[index] by `value`, and return what it was; no two threads get the same number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _address(context, builder, signature, arguments)
        return builder.atomic_rmw("add", address, arguments[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), generate


#: The instruction by which a core learns that a thread is only waiting, and its arguments.
_HINTS: dict[str, tuple[str, list[int]]] = {
    **dict.fromkeys(("x86_64", "amd64"), ("llvm.x86.sse2.pause", [])),
    **dict.fromkeys(("aarch64", "arm64"), ("llvm.aarch64.hint", [1])),
}


@intrinsic
def idle(typing_context: Any) -> Any:
    """Wait for some nanoseconds, and leave the core to the other thread that it perhaps runs."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        name, numbers = _HINTS.get(platform.machine().lower(), ("", []))
        if name:
            kind = ir.FunctionType(ir.VoidType(), [ir.IntType(32)] * len(numbers))
            hint = cgutils.get_or_insert_function(builder.module, kind, name)
            builder.call(hint, [ir.Constant(ir.IntType(32), number) for number in numbers])
        return context.get_dummy_value()

    return types.void(), generate


def _address(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Generate the address of array[index]."""
    kind = signature.args[0]
    array = context.make_array(kind)(context, builder, arguments[0])
    return cgutils.get_item_pointer(context, builder, kind, array, [arguments[1]])
