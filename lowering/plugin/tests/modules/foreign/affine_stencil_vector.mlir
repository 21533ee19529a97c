// A stencil by rows, vectorized by upstream.
// before: func.func(affine-super-vectorize{virtual-vector-size=4})
func.func @kernel(%a: memref<10x12xf32>, %w: memref<3xf32>, %out: memref<10x12xf32>) {
  affine.for %i = 1 to 9 {
    affine.for %j = 1 to 9 {
      %l = affine.load %a[%i, %j - 1] : memref<10x12xf32>
      %c = affine.load %a[%i, %j] : memref<10x12xf32>
      %r = affine.load %a[%i + 1, %j + 1] : memref<10x12xf32>
      %w0 = affine.load %w[0] : memref<3xf32>
      %w1 = affine.load %w[1] : memref<3xf32>
      %w2 = affine.load %w[2] : memref<3xf32>
      %x = arith.mulf %l, %w0 : f32
      %y = arith.mulf %c, %w1 : f32
      %z = arith.divf %r, %w2 : f32
      %s = arith.addf %x, %y : f32
      %t = arith.addf %s, %z : f32
      affine.store %t, %out[%i, %j] : memref<10x12xf32>
    }
  }
  return
}
