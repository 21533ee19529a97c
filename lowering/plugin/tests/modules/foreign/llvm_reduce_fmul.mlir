// LLVM's reduction by products.
func.func @kernel(%a: memref<8xf32>, %out: memref<1xf32>) {
  %c0 = arith.constant 0 : index
  %x = vector.load %a[%c0] : memref<8xf32>, vector<8xf32>
  %one = llvm.mlir.constant(1.0 : f32) : f32
  %r = "llvm.intr.vector.reduce.fmul"(%one, %x) : (f32, vector<8xf32>) -> f32
  memref.store %r, %out[%c0] : memref<1xf32>
  return
}
