// Named sequences for the transform dialect:
//   mlir-opt --load-pass-plugin=libpamc_plugin.so \
//            --transform-preload-library='transform-library-paths=pamc.transform.mlir' \
//            --transform-interpreter='entry-point=check_multiplication_free' input.mlir
module attributes {transform.with_named_sequence} {

  // Fails where anything multiplies, naming every place: the pass pamc-verify, which the plug-in brings
  // (--load-pass-plugin).
  transform.named_sequence @check_multiplication_free(%root: !transform.any_op {transform.consumed}) {
    %same = transform.apply_registered_pass "pamc-verify" to %root
      : (!transform.any_op) -> !transform.any_op
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
