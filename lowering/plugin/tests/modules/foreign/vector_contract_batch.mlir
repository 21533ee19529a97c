// A batched contraction with a transposed operand.
#a = affine_map<(b, i, j, k) -> (b, i, k)>
#b = affine_map<(b, i, j, k) -> (b, j, k)>
#c = affine_map<(b, i, j, k) -> (b, i, j)>
func.func @kernel(%a: memref<2x3x4xf32>, %b: memref<2x5x4xf32>, %out: memref<2x3x5xf32>) {
  %c0 = arith.constant 0 : index
  %pad = arith.constant 0.0 : f32
  %x = vector.transfer_read %a[%c0, %c0, %c0], %pad {in_bounds = [true, true, true]} : memref<2x3x4xf32>, vector<2x3x4xf32>
  %y = vector.transfer_read %b[%c0, %c0, %c0], %pad {in_bounds = [true, true, true]} : memref<2x5x4xf32>, vector<2x5x4xf32>
  %z = vector.transfer_read %out[%c0, %c0, %c0], %pad {in_bounds = [true, true, true]} : memref<2x3x5xf32>, vector<2x3x5xf32>
  %c = vector.contract {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "parallel", "reduction"], kind = #vector.kind<add>} %x, %y, %z : vector<2x3x4xf32>, vector<2x5x4xf32> into vector<2x3x5xf32>
  vector.transfer_write %c, %out[%c0, %c0, %c0] {in_bounds = [true, true, true]} : vector<2x3x5xf32>, memref<2x3x5xf32>
  return
}
