// Affine and scf loops over memrefs, with a conditional and a call between them.
func.func private @square(%x: f32) -> f32 {
  %y = arith.mulf %x, %x : f32
  return %y : f32
}
func.func @kernel(%a: memref<4x4xf32>, %b: memref<4x4xf32>, %c: memref<4x4xf32>) {
  %zero = arith.constant 0.0 : f32
  affine.for %i = 0 to 4 {
    affine.for %j = 0 to 4 {
      affine.store %zero, %c[%i, %j] : memref<4x4xf32>
      affine.for %k = 0 to 4 {
        %x = affine.load %a[%i, %k] : memref<4x4xf32>
        %y = affine.load %b[%k, %j] : memref<4x4xf32>
        %p = arith.mulf %x, %y : f32
        %s = affine.load %c[%i, %j] : memref<4x4xf32>
        %t = arith.addf %s, %p : f32
        affine.store %t, %c[%i, %j] : memref<4x4xf32>
      }
    }
  }
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  scf.for %i = %c0 to %c4 step %c1 {
    %norm = scf.for %j = %c0 to %c4 step %c1 iter_args(%acc = %zero) -> f32 {
      %x = memref.load %c[%i, %j] : memref<4x4xf32>
      %q = func.call @square(%x) : (f32) -> f32
      %s = arith.addf %acc, %q : f32
      scf.yield %s : f32
    }
    scf.parallel (%j) = (%c0) to (%c4) step (%c1) {
      %x = memref.load %c[%i, %j] : memref<4x4xf32>
      %negative = arith.cmpf olt, %x, %zero : f32
      %y = scf.if %negative -> f32 {
        %e = math.exp %x : f32
        scf.yield %e : f32
      } else {
        %root = math.sqrt %norm : f32
        %d = arith.divf %x, %root : f32
        scf.yield %d : f32
      }
      memref.store %y, %c[%i, %j] : memref<4x4xf32>
    }
  }
  return
}
