// Calls of libm and operations of the llvm dialect.
func.func private @expf(f32) -> f32
func.func private @powf(f32, f32) -> f32
func.func @kernel(%a: memref<4x4xf32>, %out: memref<4x4xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %two = arith.constant 2.0 : f32
  scf.for %i = %c0 to %c4 step %c1 {
    scf.for %j = %c0 to %c4 step %c1 {
      %x = memref.load %a[%i, %j] : memref<4x4xf32>
      %e = func.call @expf(%x) : (f32) -> f32
      %p = func.call @powf(%x, %two) : (f32, f32) -> f32
      %m = llvm.fmul %e, %p : f32
      %f = llvm.intr.fmuladd(%m, %x, %e) : (f32, f32, f32) -> f32
      memref.store %f, %out[%i, %j] : memref<4x4xf32>
    }
  }
  return
}
