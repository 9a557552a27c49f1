"""Vectors of whole numbers: int32 sums of int16 products, and what makes int8 numbers of them.

They are as long as those of `simd`, whose `zeros`, `half_zeros`, `load` and `store` serve here too.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tinycnn.kernels.integer import HIGH, LOW
from tinycnn.kernels.jit.simd import Vector, address, spread

_I16, _I32, _I64 = (ir.IntType(bits) for bits in (16, 32, 64))


@intrinsic
def load_pair(typing_context: Any, array: Any, index: Any, like: Any) -> Any:
    """Return array[index : index + 2] again and again, an int16 vector as long as `like`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pair = ir.VectorType(_I16, 2)
        both = builder.load(address(context, builder, signature, arguments, pair), align=2)
        vector = spread(builder, builder.bitcast(both, _I32), ir.VectorType(_I32, like.lanes // 2))
        return builder.bitcast(vector, arguments[2].type)

    return like(array, types.uintp, like), generate


@intrinsic
def add_products(typing_context: Any, x: Any, w: Any, total: Any) -> Any:
    """Return total[k] + x[2k] * w[2k] + x[2k + 1] * w[2k + 1], with int16 x and w and int32 totals.

    Where the processor can, that is a single instruction (VNNI), else a few (from SSE2 on).
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, w, sums = arguments
        if not builder.module.triple.startswith("x86_64"):
            halves = [
                (
                    _picked(builder, x, x, range(i, x.type.count, 2)),
                    _picked(builder, w, w, range(i, w.type.count, 2)),
                )
                for i in (0, 1)
            ]
            products = [builder.mul(*(builder.sext(v, sums.type) for v in half)) for half in halves]
            return builder.add(sums, builder.add(*products))
        # The compiler would not find the instruction by itself. It exists in three lengths; the shortest is
        # in every processor of this kind, and the compiler joins neighbours to longer ones.
        short = ir.FunctionType(ir.VectorType(_I32, 4), [ir.VectorType(_I16, 8)] * 2)
        multiply = cgutils.get_or_insert_function(builder.module, short, "llvm.x86.sse2.pmadd.wd")
        parts = [
            builder.call(multiply, [_picked(builder, v, v, range(first, first + 8)) for v in (x, w)])
            for first in range(0, x.type.count, 8)
        ]
        while len(parts) > 1:
            parts = [
                _picked(builder, a, b, range(2 * a.type.count))
                for a, b in zip(parts[::2], parts[1::2], strict=True)
            ]
        return builder.add(sums, parts[0])

    return total(x, w, total), generate


def _picked(builder: Any, vector: Any, other: Any, places: range) -> Any:
    """Return the lanes of two vectors, one behind the other, at these places."""
    return builder.shuffle_vector(vector, other, ir.Constant(ir.VectorType(_I32, len(places)), list(places)))


@intrinsic
def requantised(typing_context: Any, sums: Any, multiplier: Any, shift: Any, zero: Any) -> Any:
    """Return int8 numbers, as `tinycnn.kernels.integer.requantise` does; shift and zero are int64."""
    result = Vector(types.int8, sums.lanes)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.VectorType(_I64, sums.lanes)

        def whole(number: int) -> Any:
            return ir.Constant(wide, [number] * sums.lanes)

        product = builder.mul(*(builder.sext(vector, wide) for vector in arguments[:2]))
        bits = spread(builder, arguments[2], wide)
        half = builder.shl(whole(1), builder.sub(bits, whole(1)))
        value = builder.ashr(builder.add(product, half), bits)
        value = builder.add(value, spread(builder, arguments[3], wide))
        value = builder.select(builder.icmp_signed("<", value, whole(LOW)), whole(LOW), value)
        value = builder.select(builder.icmp_signed(">", value, whole(HIGH)), whole(HIGH), value)
        return builder.trunc(value, ir.VectorType(ir.IntType(8), sums.lanes))

    return result(sums, multiplier, types.int64, types.int64), generate
