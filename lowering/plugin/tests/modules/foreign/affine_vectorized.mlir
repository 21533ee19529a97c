// Vectorized by affine-super-vectorize.
// before: func.func(affine-super-vectorize{virtual-vector-size=4})
func.func @kernel(%A: memref<8x8xf32>, %B: memref<8x8xf32>, %C: memref<8x8xf32>) {
  affine.for %i = 0 to 8 {
    affine.for %j = 0 to 8 {
      %a = affine.load %A[%i, %j] : memref<8x8xf32>
      %b = affine.load %B[%i, %j] : memref<8x8xf32>
      %p = arith.mulf %a, %b : f32
      %e = math.exp %p : f32
      %d = arith.divf %e, %b : f32
      affine.store %d, %C[%i, %j] : memref<8x8xf32>
    }
  }
  return
}
