// Named sequences for the transform dialect:
//   mlir-opt --transform-preload-library='transform-library-paths=pamc.transform.mlir' \
//            --transform-interpreter='entry-point=check_multiplication_free' input.mlir
module attributes {transform.with_named_sequence} {

  // Fails where an operation on floats multiplies, divides or takes a root, an exponential, a
  // logarithm or another function of the math dialect, and where a vector operation hides a product.
  // The bodies of named linalg operations are looked into. For calls, libm, integers that are data
  // and other dialects there is the pass pamc-verify.
  transform.named_sequence @check_multiplication_free(
      %root: !transform.any_op {transform.readonly}) {
    %found = transform.structured.match ops{[
        "arith.mulf", "arith.divf", "arith.remf",
        "math.exp", "math.exp2", "math.expm1", "math.log", "math.log2", "math.log10", "math.log1p",
        "math.sqrt", "math.rsqrt", "math.cbrt", "math.powf", "math.fpowi", "math.fma", "math.tanh",
        "math.sin", "math.cos", "math.tan", "math.sinh", "math.cosh", "math.asin", "math.acos",
        "math.atan", "math.atan2", "math.asinh", "math.acosh", "math.atanh", "math.erf", "math.erfc",
        "math.sincos", "vector.fma", "vector.contract", "vector.outerproduct", "linalg.softmax",
        "llvm.fmul", "llvm.fdiv", "llvm.frem", "llvm.intr.fma", "llvm.intr.fmuladd", "llvm.intr.exp",
        "llvm.intr.exp2", "llvm.intr.log", "llvm.intr.log2", "llvm.intr.sqrt", "llvm.intr.pow"
      ]} in %root : (!transform.any_op) -> !transform.any_op
    transform.debug.emit_remark_at %found, "multiplies" : !transform.any_op
    %count = transform.num_associations %found : (!transform.any_op) -> !transform.param<i64>
    %none = transform.param.constant 0 : i64 -> !transform.param<i64>
    transform.match.param.cmpi eq %count, %none : !transform.param<i64>
    transform.yield
  }

  // Contractions (after pamc-lower, which makes them linalg.generic) in tiles of 4 x 16 results held
  // in vector registers. The innermost loop over the contracted axis takes one step at a time, so the
  // order of every sum, and with it every bit, stays that of the untiled loops.
  transform.named_sequence @tile_contractions(%root: !transform.any_op {transform.readonly}) {
    %all = transform.structured.match ops{["linalg.generic"]}
      attributes {iterator_types = [#linalg.iterator_type<parallel>, #linalg.iterator_type<parallel>,
                                    #linalg.iterator_type<reduction>]}
      in %root : (!transform.any_op) -> !transform.any_op
    transform.foreach %all : !transform.any_op {
    ^bb0(%one: !transform.any_op):
      %tile, %loops:3 = transform.structured.tile_using_for %one tile_sizes [4, 16, 1]
        : (!transform.any_op)
        -> (!transform.any_op, !transform.any_op, !transform.any_op, !transform.any_op)
    }
    transform.yield
  }

  // Every structured operation of static shape as operations on vectors. A reduction of a whole axis
  // becomes vector.multi_reduction, whose lowering chooses the order of its sum.
  transform.named_sequence @vectorize(%root: !transform.any_op {transform.readonly}) {
    %functions = transform.structured.match ops{["func.func"]} in %root
      : (!transform.any_op) -> !transform.any_op
    transform.foreach %functions : !transform.any_op {
    ^bb0(%function: !transform.any_op):
      %done = transform.structured.vectorize_children_and_apply_patterns %function
        : (!transform.any_op) -> !transform.any_op
    }
    transform.yield
  }

  // Both.
  transform.named_sequence @schedule(%root: !transform.any_op {transform.readonly}) {
    transform.include @tile_contractions failures(propagate) (%root) : (!transform.any_op) -> ()
    transform.include @vectorize failures(propagate) (%root) : (!transform.any_op) -> ()
    transform.yield
  }
}
