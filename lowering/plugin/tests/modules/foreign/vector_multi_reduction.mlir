// Reductions by products over one and all dimensions.
func.func @kernel(%a: memref<3x4x5xf32>, %out: memref<3x5xf32>) {
  %c0 = arith.constant 0 : index
  %pad = arith.constant 0.0 : f32
  %x = vector.transfer_read %a[%c0, %c0, %c0], %pad {in_bounds = [true, true, true]} : memref<3x4x5xf32>, vector<3x4x5xf32>
  %ones = arith.constant dense<1.0> : vector<3x5xf32>
  %p = vector.multi_reduction <mul>, %x, %ones [1] : vector<3x4x5xf32> to vector<3x5xf32>
  %one = arith.constant 1.0 : f32
  %q = vector.multi_reduction <mul>, %x, %one [0, 1, 2] : vector<3x4x5xf32> to f32
  %qb = vector.broadcast %q : f32 to vector<3x5xf32>
  %r = arith.addf %p, %qb : vector<3x5xf32>
  vector.transfer_write %r, %out[%c0, %c0] {in_bounds = [true, true]} : vector<3x5xf32>, memref<3x5xf32>
  return
}
