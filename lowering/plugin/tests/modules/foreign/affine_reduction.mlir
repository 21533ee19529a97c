// A reduction by products, carried through an affine loop.
func.func @kernel(%A: memref<4x4xf32>, %out: memref<4xf32>) {
  %one = arith.constant 1.0 : f32
  affine.for %i = 0 to 4 {
    %p = affine.for %j = 0 to 4 iter_args(%acc = %one) -> (f32) {
      %a = affine.load %A[%i, %j] : memref<4x4xf32>
      %q = arith.mulf %acc, %a : f32
      affine.yield %q : f32
    }
    affine.store %p, %out[%i] : memref<4xf32>
  }
  return
}
