// Contractions that combine by maxima and minima, of vectors with masks, of mixed types.
#a = affine_map<(i, j, k) -> (i, k)>
#b = affine_map<(i, j, k) -> (k, j)>
#c = affine_map<(i, j, k) -> (i, j)>
func.func @kernel(%a: memref<3x4xf32>, %b: memref<4x5xf32>, %out: memref<3x5xf32>) {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %c4 = arith.constant 4 : index
  %pad = arith.constant 0.0 : f32
  %x = vector.transfer_read %a[%c0, %c0], %pad {in_bounds = [true, true]} : memref<3x4xf32>, vector<3x4xf32>
  %y = vector.transfer_read %b[%c0, %c0], %pad {in_bounds = [true, true]} : memref<4x5xf32>, vector<4x5xf32>
  %z = vector.transfer_read %out[%c0, %c0], %pad {in_bounds = [true, true]} : memref<3x5xf32>, vector<3x5xf32>
  %0 = vector.contract {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"], kind = #vector.kind<maximumf>} %x, %y, %z : vector<3x4xf32>, vector<4x5xf32> into vector<3x5xf32>
  %1 = vector.contract {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"], kind = #vector.kind<add>} %x, %y, %0 : vector<3x4xf32>, vector<4x5xf32> into vector<3x5xf32>
  %m = vector.create_mask %c2, %c4, %c2 : vector<3x5x4xi1>
  %2 = vector.mask %m { vector.contract {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"], kind = #vector.kind<add>} %x, %y, %1 : vector<3x4xf32>, vector<4x5xf32> into vector<3x5xf32> } : vector<3x5x4xi1> -> vector<3x5xf32>
  %xh = arith.truncf %x : vector<3x4xf32> to vector<3x4xbf16>
  %yh = arith.truncf %y : vector<4x5xf32> to vector<4x5xbf16>
  %3 = vector.contract {indexing_maps = [#a, #b, #c], iterator_types = ["parallel", "parallel", "reduction"], kind = #vector.kind<add>} %xh, %yh, %2 : vector<3x4xbf16>, vector<4x5xbf16> into vector<3x5xf32>
  vector.transfer_write %3, %out[%c0, %c0] {in_bounds = [true, true]} : vector<3x5xf32>, memref<3x5xf32>
  return
}
