// Recursion, several functions, private callees, an integer product that stays an address.
func.func private @power(%x: f32, %n: i32) -> f32 {
  %zero = arith.constant 0 : i32
  %one = arith.constant 1 : i32
  %c = arith.cmpi sle, %n, %zero : i32
  cf.cond_br %c, ^base, ^step
^base:
  %u = arith.constant 1.0 : f32
  return %u : f32
^step:
  %m = arith.subi %n, %one : i32
  %r = func.call @power(%x, %m) : (f32, i32) -> f32
  %p = arith.mulf %x, %r : f32
  return %p : f32
}
func.func private @mean(%m: memref<?xf32>) -> f32 {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %z = arith.constant 0.0 : f32
  %n = memref.dim %m, %c0 : memref<?xf32>
  %s = scf.for %i = %c0 to %n step %c1 iter_args(%acc = %z) -> f32 {
    %x = memref.load %m[%i] : memref<?xf32>
    %t = arith.addf %acc, %x : f32
    scf.yield %t : f32
  }
  %ni = arith.index_cast %n : index to i64
  %nf = arith.uitofp %ni : i64 to f32
  %d = arith.divf %s, %nf : f32
  return %d : f32
}
func.func @kernel(%a: memref<12xf32>, %out: memref<12xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  %c4 = arith.constant 4 : index
  %three = arith.constant 3 : i32
  %dyn = memref.cast %a : memref<12xf32> to memref<?xf32>
  %m = func.call @mean(%dyn) : (memref<?xf32>) -> f32
  scf.for %i = %c0 to %c3 step %c1 {
    scf.for %j = %c0 to %c4 step %c1 {
      %row = arith.muli %i, %c4 overflow<nsw> : index
      %at = arith.addi %row, %j : index
      %x = memref.load %a[%at] : memref<12xf32>
      %y = func.call @power(%x, %three) : (f32, i32) -> f32
      %w = arith.divf %y, %m : f32
      memref.store %w, %out[%at] : memref<12xf32>
    }
  }
  return
}
