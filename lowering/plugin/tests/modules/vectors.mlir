// Vector code: transfers, a contraction, a fused multiply-add, an outer product, reductions by products.
#mk = affine_map<(i, j, k) -> (i, k)>
#kn = affine_map<(i, j, k) -> (k, j)>
#mn = affine_map<(i, j, k) -> (i, j)>
func.func @kernel(%a: memref<4x4xf32>, %b: memref<4x4xf32>, %out: memref<4x4xf32>) {
  %c0 = arith.constant 0 : index
  %pad = arith.constant 0.0 : f32
  %x = vector.transfer_read %a[%c0, %c0], %pad {in_bounds = [true, true]} : memref<4x4xf32>, vector<4x4xf32>
  %y = vector.transfer_read %b[%c0, %c0], %pad {in_bounds = [true, true]} : memref<4x4xf32>, vector<4x4xf32>
  %zero = arith.constant dense<0.0> : vector<4x4xf32>
  %c = vector.contract {indexing_maps = [#mk, #kn, #mn], iterator_types = ["parallel", "parallel", "reduction"],
      kind = #vector.kind<add>} %x, %y, %zero : vector<4x4xf32>, vector<4x4xf32> into vector<4x4xf32>
  %f = vector.fma %c, %y, %x : vector<4x4xf32>
  %row = vector.extract %f[0] : vector<4xf32> from vector<4x4xf32>
  %col = vector.extract %f[1] : vector<4xf32> from vector<4x4xf32>
  %o = vector.outerproduct %row, %col, %f {kind = #vector.kind<add>} : vector<4xf32>, vector<4xf32>
  %p = vector.reduction <mul>, %row : vector<4xf32> into f32
  %ones = arith.constant dense<1.0> : vector<4xf32>
  %q = vector.multi_reduction <mul>, %c, %ones [1] : vector<4x4xf32> to vector<4xf32>
  %ps = vector.broadcast %p : f32 to vector<4x4xf32>
  %qs = vector.broadcast %q : vector<4xf32> to vector<4x4xf32>
  %s = arith.addf %o, %ps : vector<4x4xf32>
  %t = arith.addf %s, %qs : vector<4x4xf32>
  vector.transfer_write %t, %out[%c0, %c0] {in_bounds = [true, true]} : vector<4x4xf32>, memref<4x4xf32>
  return
}
