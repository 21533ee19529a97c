// polybench's gemm: C = alpha A B + beta C, tiled by upstream before lowering.
// before: func.func(affine-loop-tile{tile-size=2})
func.func @kernel(%A: memref<5x6xf32>, %B: memref<6x4xf32>, %C: memref<5x4xf32>) {
  %alpha = arith.constant 1.5 : f32
  %beta = arith.constant 1.2 : f32
  affine.for %i = 0 to 5 {
    affine.for %j = 0 to 4 {
      %c = affine.load %C[%i, %j] : memref<5x4xf32>
      %0 = arith.mulf %c, %beta : f32
      affine.store %0, %C[%i, %j] : memref<5x4xf32>
      affine.for %k = 0 to 6 {
        %a = affine.load %A[%i, %k] : memref<5x6xf32>
        %1 = arith.mulf %alpha, %a : f32
        %b = affine.load %B[%k, %j] : memref<6x4xf32>
        %2 = arith.mulf %1, %b : f32
        %3 = affine.load %C[%i, %j] : memref<5x4xf32>
        %4 = arith.addf %3, %2 : f32
        affine.store %4, %C[%i, %j] : memref<5x4xf32>
      }
    }
  }
  return
}
