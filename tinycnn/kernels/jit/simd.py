"""Vectors of a few neighbouring numbers, as a compiled kernel's local variables.

A compiler turns ``y[k] += a * x[k]`` into SIMD instructions by itself, but goes to memory for every `y[k]`.
The sums of a matrix product should stay in registers from the first term to the last; with these vectors a
kernel says so: ``total = fma(a, load(x, at, total), total)``.

A vector is 64 or 32 bytes long: 16 or 8 numbers of float32, half as many of float64; `zeros` and `half_zeros`
make them. Indices count elements of a flat array and must be `np.uintp`. Nothing checks that they
lie inside, unless numba is told to (``NUMBA_BOUNDSCHECK=1``).
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, config
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic, models, register_model

from tinycnn.kernels.jit.compile import part

#: Bytes in a vector of `zeros` and of `half_zeros`.
WIDE, HALF = 64, 32
#: Whether the processor has 32 registers for wide vectors; others hold six of them, as halves, and few more.
MANY_REGISTERS = "+avx512f" in (config.CPU_FEATURES or get_host_cpu_features())  # type: ignore[attr-defined]


class Vector(types.Type):
    """Numba's type of a vector."""

    def __init__(self, dtype: types.Type, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(f"Vector({dtype}, {lanes})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        element = manager.lookup(vector.dtype).get_value_type()
        super().__init__(manager, vector, ir.VectorType(element, vector.lanes))


def _zeros(size: int) -> Any:
    @intrinsic
    def zeros(typing_context: Any, array: Any) -> Any:
        """Return a vector of zeros of the array's dtype."""
        vector = Vector(array.dtype, size * 8 // array.dtype.bitwidth)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return ir.Constant(context.get_value_type(vector), None)  # None: zero in every lane

        return vector(array), generate

    return zeros


zeros = _zeros(WIDE)
half_zeros = _zeros(HALF)


@intrinsic
def load(typing_context: Any, array: Any, index: Any, like: Any) -> Any:
    """Return array[index : index + lanes], a vector as long as `like`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = address(context, builder, signature, arguments, arguments[2].type)
        return builder.load(pointer, align=array.dtype.bitwidth // 8)

    return like(array, types.uintp, like), generate


@intrinsic
def store(typing_context: Any, array: Any, index: Any, vector: Any) -> Any:
    """Write the vector to array[index : index + lanes]; an array of bytes takes whole numbers 0 to 255."""
    element = array.dtype

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value = arguments[2]
        bits = element.bitwidth
        if isinstance(element, types.Integer) and isinstance(vector.dtype, types.Float):
            value = builder.fptoui(value, ir.VectorType(ir.IntType(bits), vector.lanes))
        pointer = address(context, builder, signature, arguments, value.type)
        builder.store(value, pointer, align=bits // 8)
        return context.get_dummy_value()

    return types.void(array, types.uintp, vector), generate


@part
def load_four(array, at, step, like):
    """Return four vectors that lie `step` elements apart."""
    at2, at3 = at + step + step, at + step + step + step
    return load(array, at, like), load(array, at + step, like), load(array, at2, like), load(array, at3, like)


@part
def store_each(array, at, step, vectors):
    """Write some vectors `step` elements apart."""
    for k in range(len(vectors)):
        store(array, at + np.uintp(k) * step, vectors[k])


@intrinsic
def fma(typing_context: Any, factor: Any, vector: Any, total: Any) -> Any:
    """Return factor * vector + total, rounded once; `factor` is a vector or a number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = arguments[1].type
        bits = 32 if isinstance(kind.element, ir.FloatType) else 64
        name = f"llvm.fma.v{kind.count}f{bits}"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3), name)
        return builder.call(function, [spread(builder, arguments[0], kind), *arguments[1:]])

    return vector(factor, vector, total), generate


@intrinsic
def fill(typing_context: Any, number: Any, vector: Any) -> Any:
    """Return a vector like `vector` with `number` in every lane."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return spread(builder, arguments[0], arguments[1].type)

    return vector(number, vector), generate


@intrinsic
def wins(typing_context: Any, challenger: Any, best: Any) -> Any:
    """Return a vector of truths: where `challenger` is larger than `best`, or NaN."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        larger = builder.fcmp_ordered(">", *arguments)
        return builder.or_(larger, builder.fcmp_unordered("uno", arguments[0], arguments[0]))

    return Vector(types.boolean, challenger.lanes)(challenger, best), generate


@intrinsic
def larger(typing_context: Any, this: Any, other: Any) -> Any:
    """Return a vector of truths: where `this` is larger than `other`, and neither is NaN."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fcmp_ordered(">", *arguments)

    return Vector(types.boolean, this.lanes)(this, other), generate


@intrinsic
def choose(typing_context: Any, truths: Any, this: Any, other: Any) -> Any:
    """Return, lane by lane, `this` where `truths` holds, otherwise `other`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(*arguments)

    return this(truths, this, other), generate


def address(context: Any, builder: Any, signature: Any, arguments: Any, kind: Any) -> Any:
    """Return the address of arguments[0][arguments[1]], as a pointer to `kind`."""
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    if config.BOUNDSCHECK:  # type: ignore[attr-defined]
        start, lanes = arguments[1], ir.Constant(arguments[1].type, kind.count)
        beyond = builder.icmp_unsigned(">", builder.add(start, lanes), array.nitems)
        below = builder.icmp_unsigned(">", start, array.nitems)  # a negative number, seen as unsigned
        with builder.if_then(builder.or_(beyond, below), likely=False):
            context.call_conv.return_user_exc(builder, IndexError, ("a vector reaches out of its array",))
    return builder.bitcast(builder.gep(array.data, [arguments[1]]), kind.as_pointer())


def spread(builder: Any, number: Any, kind: Any) -> Any:
    """Return a vector with `number` in every lane; a vector passes through."""
    if isinstance(number.type, ir.VectorType):
        return number
    nothing = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(nothing, number, ir.Constant(ir.IntType(32), 0))
    lane = ir.Constant(ir.VectorType(ir.IntType(32), kind.count), [0] * kind.count)
    return builder.shuffle_vector(first, nothing, lane)
