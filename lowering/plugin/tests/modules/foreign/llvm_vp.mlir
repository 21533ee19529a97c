// Predicated operations of the LLVM dialect, as vector processors' code generators write them.
func.func @kernel(%a: memref<8xf32>, %b: memref<8xf32>, %out: memref<8xf32>) {
  %c0 = arith.constant 0 : index
  %pad = arith.constant 0.0 : f32
  %x = vector.transfer_read %a[%c0], %pad {in_bounds = [true]} : memref<8xf32>, vector<8xf32>
  %y = vector.transfer_read %b[%c0], %pad {in_bounds = [true]} : memref<8xf32>, vector<8xf32>
  %m = arith.constant dense<true> : vector<8xi1>
  %n = arith.constant 8 : i32
  %0 = "llvm.intr.vp.fmul"(%x, %y, %m, %n) : (vector<8xf32>, vector<8xf32>, vector<8xi1>, i32) -> vector<8xf32>
  %1 = "llvm.intr.vp.fdiv"(%0, %y, %m, %n) : (vector<8xf32>, vector<8xf32>, vector<8xi1>, i32) -> vector<8xf32>
  %2 = "llvm.intr.vp.fma"(%0, %y, %x, %m, %n) : (vector<8xf32>, vector<8xf32>, vector<8xf32>, vector<8xi1>, i32) -> vector<8xf32>
  %3 = "llvm.intr.vp.fadd"(%1, %2, %m, %n) : (vector<8xf32>, vector<8xf32>, vector<8xi1>, i32) -> vector<8xf32>
  %4 = "llvm.intr.vp.fneg"(%3, %m, %n) : (vector<8xf32>, vector<8xi1>, i32) -> vector<8xf32>
  vector.transfer_write %4, %out[%c0] {in_bounds = [true]} : vector<8xf32>, memref<8xf32>
  return
}
