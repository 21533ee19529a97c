// affine.parallel with reductions, one by products, as super-vectorizers and affine-parallelize leave.
// before: func.func(affine-parallelize{parallel-reductions=1})
func.func @kernel(%a: memref<6x5xf32>, %b: memref<5xf32>, %out: memref<6xf32>) {
  %zero = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  affine.for %i = 0 to 6 {
    %s = affine.for %k = 0 to 5 iter_args(%acc = %zero) -> f32 {
      %x = affine.load %a[%i, %k] : memref<6x5xf32>
      %y = affine.load %b[%k] : memref<5xf32>
      %p = arith.mulf %x, %y : f32
      %t = arith.addf %acc, %p : f32
      affine.yield %t : f32
    }
    %q = affine.parallel (%k) = (0) to (5) reduce ("mulf") -> f32 {
      %x = affine.load %a[%i, %k] : memref<6x5xf32>
      affine.yield %x : f32
    }
    %d = arith.divf %s, %q : f32
    affine.store %d, %out[%i] : memref<6xf32>
  }
  return
}
