// Operations and intrinsics of the LLVM dialect on scalars and vectors.
func.func @kernel(%a: memref<8xf32>, %out: memref<8xf32>) {
  %c0 = arith.constant 0 : index
  %x = vector.load %a[%c0] : memref<8xf32>, vector<8xf32>
  %0 = llvm.fmul %x, %x : vector<8xf32>
  %1 = llvm.intr.fmuladd(%0, %x, %x) : (vector<8xf32>, vector<8xf32>, vector<8xf32>) -> vector<8xf32>
  %2 = llvm.intr.fabs(%1) : (vector<8xf32>) -> vector<8xf32>
  %3 = llvm.intr.sqrt(%2) : (vector<8xf32>) -> vector<8xf32>
  %4 = llvm.intr.exp2(%3) : (vector<8xf32>) -> vector<8xf32>
  %5 = llvm.intr.log10(%4) : (vector<8xf32>) -> vector<8xf32>
  %6 = llvm.fdiv %5, %x : vector<8xf32>
  %7 = llvm.intr.maximum(%6, %x) : (vector<8xf32>, vector<8xf32>) -> vector<8xf32>
  %8 = llvm.intr.fma(%7, %6, %x) : (vector<8xf32>, vector<8xf32>, vector<8xf32>) -> vector<8xf32>
  vector.store %8, %out[%c0] : memref<8xf32>, vector<8xf32>
  return
}
