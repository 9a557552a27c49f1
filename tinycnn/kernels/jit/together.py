"""A compiled function called by several threads at once, with no Python between them.

A helper thread stays in compiled code and watches a mailbox (`serve`). The caller writes into it where the
function is and what its arguments are (`together`): the helper is there in less than a microsecond. Through
Python it would need the GIL, and more time than some kernels take.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tinycnn.kernels.jit.atomic import add, idle, load_now, set_now
from tinycnn.kernels.jit.compile import compiled, section

#: Times that a waiting thread looks before it gives up: 2 ms here. A core that has gone to sleep may take as
#: long to wake; what Python does between two kernels takes far less.
PATIENCE = 100_000

#: Places in a mailbox, those that different threads write a cache line apart: the number of the last call,
#: which of them may still be joined, the helpers that are inside, whether one failed there, how often Python
#: wanted the helpers back, how many there are; the address of a function, and its arguments.
CALL, OPEN, INSIDE, FAILED, WANTED, HELPERS, FUNCTION, ARGUMENTS = 0, 8, 16, 17, 24, 25, 32, 40
#: Elements of a mailbox, all int64.
MAILBOX = 1 << 10


@section
def together(function, arguments, mailbox):
    """Call ``function(*arguments, member)`` here, as member 0, and in every helper that comes in time.

    Returns when no helper is inside any more, or when patience is lost: then the caller must wait until
    mailbox[INSIDE] is 0 before any of the arguments may go.

    Args:
        function: a `part` that returns nothing; it finds out by itself what is left to be done.
        arguments: a tuple.
        mailbox: of the helpers; one without any is only looked at.
    """
    helped = mailbox[HELPERS] > 0
    if helped:
        _write(function, arguments, mailbox)
        call = mailbox[CALL] + 1
        set_now(mailbox, np.intp(OPEN), call)
        set_now(mailbox, np.intp(CALL), call)
    function(*arguments, np.int64(0))
    if helped:
        set_now(mailbox, np.intp(OPEN), np.int64(0))
        for _ in range(PATIENCE):
            if load_now(mailbox, np.intp(INSIDE)) == 0:
                break
            idle()


@compiled
def serve(mailbox, wanted, member, patience):
    """Join call after call, as a helper, until there is none for a while or mailbox[WANTED] is not `wanted`.

    A helper first says that it is inside, and then looks whether it may be; a caller first closes its call,
    and then looks who is inside. So none begins when the arguments are gone.
    """
    seen, looks = np.int64(0), 0
    while looks < patience and load_now(mailbox, np.intp(WANTED)) == wanted:
        looks += 1
        call = load_now(mailbox, np.intp(CALL))
        if call != seen:
            seen, looks = call, 0
            add(mailbox, np.intp(INSIDE), np.int64(1))
            if load_now(mailbox, np.intp(OPEN)) == call:
                _run(mailbox, member)
            add(mailbox, np.intp(INSIDE), np.int64(-1))
        idle()


@intrinsic
def _write(typing_context: Any, function: Any, arguments: Any, mailbox: Any) -> Any:
    """Write into a mailbox the arguments, and the address of a function that calls `function` with them."""
    called = typing_context.resolve_function_type(function, (*arguments.types, types.int64), {})

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        result = function.dispatcher.get_compile_result(called)
        context.active_code_library.add_linking_library(result.library)
        kind = context.get_value_type(arguments)
        if context.get_abi_sizeof(kind) > 8 * (MAILBOX - ARGUMENTS):
            raise ValueError("the arguments are too long for a mailbox")
        entrance = _entrance(context, builder.module, result.fndesc, kind)
        box = context.make_array(mailbox)(context, builder, values[2]).data
        builder.store(builder.ptrtoint(entrance, ir.IntType(64)), _place(builder, box, FUNCTION))
        builder.store(values[1], builder.bitcast(_place(builder, box, ARGUMENTS), kind.as_pointer()))
        return context.get_dummy_value()

    return types.void(function, arguments, mailbox), generate


def _entrance(context: Any, module: Any, function: Any, kind: Any) -> Any:
    """Generate what a helper calls with a mailbox and its number, to call `function`."""
    entrance = ir.Function(module, _ENTRANCE, module.get_unique_name("entrance"))
    entrance.linkage = "internal"
    builder = ir.IRBuilder(entrance.append_basic_block())
    box, member = entrance.args
    arguments = builder.load(builder.bitcast(_place(builder, box, ARGUMENTS), kind.as_pointer()))
    unpacked = cgutils.unpack_tuple(builder, arguments)
    callee = context.declare_function(module, function)
    status, _ = context.call_conv.call_function(
        builder, callee, function.restype, function.argtypes, [*unpacked, member]
    )
    with builder.if_then(status.is_error, likely=False):
        builder.store(ir.Constant(ir.IntType(64), 1), _place(builder, box, FAILED))
    builder.ret_void()
    return entrance


@intrinsic
def _run(typing_context: Any, mailbox: Any, member: Any) -> Any:
    """Call the function that a mailbox names, as the member of this number."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        box = context.make_array(mailbox)(context, builder, values[0]).data
        address = builder.load(_place(builder, box, FUNCTION))
        builder.call(builder.inttoptr(address, _ENTRANCE.as_pointer()), [box, values[1]])
        return context.get_dummy_value()

    return types.void(mailbox, types.int64), generate


_ENTRANCE = ir.FunctionType(ir.VoidType(), [ir.IntType(64).as_pointer(), ir.IntType(64)])


def _place(builder: Any, box: Any, index: int) -> Any:
    return builder.gep(box, [ir.Constant(ir.IntType(64), index)])
