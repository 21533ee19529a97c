// What the math dialect has besides functions: clamps, signs, classes, bits and powers of integers.
// after: func.func(math-expand-ops{ops=clampf})
func.func @kernel(%a: memref<12xf32>, %b: memref<12xf32>, %out: memref<12xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = arith.constant 12 : index
  %lo = arith.constant -1.5 : f32
  %hi = arith.constant 1.25 : f32
  %zero = arith.constant 0.0 : f32
  scf.for %i = %c0 to %n step %c1 {
    %x = memref.load %a[%i] : memref<12xf32>
    %y = memref.load %b[%i] : memref<12xf32>
    %cl = math.clampf %x to [%lo, %hi] : f32
    %cs = math.copysign %y, %cl : f32
    %f0 = math.isnan %x : f32
    %f2 = math.isfinite %y : f32
    %s = math.sin %cl : f32
    %c = math.cos %cl : f32
    %bits = arith.fptosi %cl : f32 to i32
    %three = arith.constant 3 : i32
    %p = math.fpowi %cs, %three : f32, i32
    %abs = math.absi %bits : i32
    %lz = math.ctlz %abs : i32
    %tz = math.cttz %abs : i32
    %pc = math.ctpop %abs : i32
    %k0 = arith.addi %lz, %tz : i32
    %k1 = arith.addi %k0, %pc : i32
    %k = arith.sitofp %k1 : i32 to f32
    %at = math.atan2 %s, %c : f32
    %r = arith.remf %cs, %hi : f32
    %t0 = arith.select %f0, %zero, %r : f32
    %t1 = arith.addf %k, %t0 : f32
    %t2 = arith.select %f2, %at, %t1 : f32
    %t3 = arith.addf %t2, %p : f32
    %u = arith.addf %t3, %p : f32
    %v = arith.addf %u, %k : f32
    memref.store %v, %out[%i] : memref<12xf32>
  }
  return
}
