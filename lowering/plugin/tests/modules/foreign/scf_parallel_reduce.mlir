// A reduction by products in scf.parallel.
func.func @kernel(%a: memref<4x6xf32>, %out: memref<4xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %c6 = arith.constant 6 : index
  %one = arith.constant 1.0 : f32
  scf.parallel (%i) = (%c0) to (%c4) step (%c1) {
    %p = scf.parallel (%j) = (%c0) to (%c6) step (%c1) init (%one) -> f32 {
      %x = memref.load %a[%i, %j] : memref<4x6xf32>
      scf.reduce(%x : f32) {
      ^bb0(%l: f32, %r: f32):
        %m = arith.mulf %l, %r : f32
        scf.reduce.return %m : f32
      }
    }
    memref.store %p, %out[%i] : memref<4xf32>
  }
  return
}
