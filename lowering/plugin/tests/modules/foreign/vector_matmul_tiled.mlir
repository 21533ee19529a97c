// An outer-product kernel as the vectorizer leaves it: loops over vector.outerproduct.
func.func @kernel(%a: memref<8x8xf32>, %b: memref<8x8xf32>, %c: memref<8x8xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %c8 = arith.constant 8 : index
  %pad = arith.constant 0.0 : f32
  scf.for %i = %c0 to %c8 step %c4 {
    scf.for %j = %c0 to %c8 step %c4 {
      %init = vector.transfer_read %c[%i, %j], %pad {in_bounds = [true, true]} : memref<8x8xf32>, vector<4x4xf32>
      %r = scf.for %k = %c0 to %c8 step %c1 iter_args(%acc = %init) -> vector<4x4xf32> {
        %col = vector.transfer_read %a[%i, %k], %pad {in_bounds = [true], permutation_map = affine_map<(d0, d1) -> (d0)>} : memref<8x8xf32>, vector<4xf32>
        %row = vector.transfer_read %b[%k, %j], %pad {in_bounds = [true]} : memref<8x8xf32>, vector<4xf32>
        %o = vector.outerproduct %col, %row, %acc {kind = #vector.kind<add>} : vector<4xf32>, vector<4xf32>
        scf.yield %o : vector<4x4xf32>
      }
      vector.transfer_write %r, %c[%i, %j] {in_bounds = [true, true]} : vector<4x4xf32>, memref<8x8xf32>
    }
  }
  return
}
