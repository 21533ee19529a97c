// A jacobi step with affine.if, min/max bounds and affine.parallel.
#set = affine_set<(d0, d1) : (d0 - 1 >= 0, d1 - 1 >= 0, -d0 + 4 >= 0, -d1 + 4 >= 0)>
func.func @kernel(%a: memref<6x6xf32>, %b: memref<6x6xf32>) {
  %fifth = arith.constant 0.2 : f32
  affine.parallel (%i, %j) = (0, 0) to (6, 6) {
    affine.if #set(%i, %j) {
      %c = affine.load %a[%i, %j] : memref<6x6xf32>
      %n = affine.load %a[%i - 1, %j] : memref<6x6xf32>
      %s = affine.load %a[%i + 1, %j] : memref<6x6xf32>
      %w = affine.load %a[%i, %j - 1] : memref<6x6xf32>
      %e = affine.load %a[%i, %j + 1] : memref<6x6xf32>
      %0 = arith.addf %c, %n : f32
      %1 = arith.addf %0, %s : f32
      %2 = arith.addf %1, %w : f32
      %3 = arith.addf %2, %e : f32
      %4 = arith.mulf %3, %fifth : f32
      affine.store %4, %b[%i, %j] : memref<6x6xf32>
    }
  }
  return
}
