// Transfers with masks and padding, reductions and outer products under masks.
func.func @kernel(%a: memref<4x8xf32>, %b: memref<8xf32>, %out: memref<4x8xf32>) {
  %c0 = arith.constant 0 : index
  %c2 = arith.constant 2 : index
  %c5 = arith.constant 5 : index
  %pad = arith.constant 2.5 : f32
  %m1 = vector.create_mask %c5 : vector<8xi1>
  %m = vector.create_mask %c2, %c5 : vector<4x8xi1>
  %x = vector.transfer_read %a[%c0, %c0], %pad, %m {in_bounds = [true, true]} : memref<4x8xf32>, vector<4x8xf32>
  %y = vector.transfer_read %b[%c2], %pad {in_bounds = [false]} : memref<8xf32>, vector<8xf32>
  %init = arith.constant dense<1.0> : vector<4xf32>
  %init2 = arith.constant dense<2.0> : vector<8xf32>
  %r = vector.multi_reduction <mul>, %x, %init2 [0] : vector<4x8xf32> to vector<8xf32>
  %mm = vector.mask %m { vector.multi_reduction <mul>, %x, %init [1] : vector<4x8xf32> to vector<4xf32> } : vector<4x8xi1> -> vector<4xf32>
  %op = vector.outerproduct %mm, %y {kind = #vector.kind<add>} : vector<4xf32>, vector<8xf32>
  %mo = vector.mask %m { vector.outerproduct %mm, %r, %op {kind = #vector.kind<add>} : vector<4xf32>, vector<8xf32> } : vector<4x8xi1> -> vector<4x8xf32>
  %ld = vector.maskedload %b[%c0], %m1, %y : memref<8xf32>, vector<8xi1>, vector<8xf32> into vector<8xf32>
  %bb = vector.broadcast %ld : vector<8xf32> to vector<4x8xf32>
  %f = vector.fma %mo, %bb, %x : vector<4x8xf32>
  vector.transfer_write %f, %out[%c0, %c0] {in_bounds = [true, true]} : vector<4x8xf32>, memref<4x8xf32>
  return
}
