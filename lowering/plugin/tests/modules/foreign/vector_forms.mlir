// Reductions with an accumulator, masked operations, a dot product by vector.contract, fma on f16.
func.func @kernel(%a: memref<4x4xf32>, %b: memref<4x4xf32>, %out: memref<4x4xf32>) {
  %c0 = arith.constant 0 : index
  %c3 = arith.constant 3 : index
  %pad = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  %x = vector.transfer_read %a[%c0, %c0], %pad {in_bounds = [true, true]} : memref<4x4xf32>, vector<4x4xf32>
  %y = vector.transfer_read %b[%c0, %c0], %pad {in_bounds = [true, true]} : memref<4x4xf32>, vector<4x4xf32>
  %x0 = vector.extract %x[0] : vector<4xf32> from vector<4x4xf32>
  %y1 = vector.extract %y[1] : vector<4xf32> from vector<4x4xf32>
  %dot = vector.contract {indexing_maps = [affine_map<(k) -> (k)>, affine_map<(k) -> (k)>, affine_map<(k) -> ()>],
      iterator_types = ["reduction"], kind = #vector.kind<add>} %x0, %y1, %one : vector<4xf32>, vector<4xf32> into f32
  %r = vector.reduction <mul>, %x0, %dot : vector<4xf32> into f32
  %m = vector.create_mask %c3 : vector<4xi1>
  %mr = vector.mask %m { vector.reduction <mul>, %y1, %r : vector<4xf32> into f32 } : vector<4xi1> -> f32
  %ones = arith.constant dense<1.0> : vector<4xf32>
  %mv = vector.contract {indexing_maps = [affine_map<(i, k) -> (i, k)>, affine_map<(i, k) -> (k)>, affine_map<(i, k) -> (i)>],
      iterator_types = ["parallel", "reduction"], kind = #vector.kind<add>} %y, %x0, %ones : vector<4x4xf32>, vector<4xf32> into vector<4xf32>
  %h = arith.truncf %x : vector<4x4xf32> to vector<4x4xf16>
  %hf = vector.fma %h, %h, %h : vector<4x4xf16>
  %hw = arith.extf %hf : vector<4x4xf16> to vector<4x4xf32>
  %ax = vector.outerproduct %x0, %mr {kind = #vector.kind<add>} : vector<4xf32>, f32
  %b1 = vector.broadcast %ax : vector<4xf32> to vector<4x4xf32>
  %b2 = vector.broadcast %mv : vector<4xf32> to vector<4x4xf32>
  %s = arith.addf %x, %b1 : vector<4x4xf32>
  %t = arith.addf %s, %b2 : vector<4x4xf32>
  %u = arith.addf %t, %hw : vector<4x4xf32>
  vector.transfer_write %u, %out[%c0, %c0] {in_bounds = [true, true]} : vector<4x4xf32>, memref<4x4xf32>
  return
}
