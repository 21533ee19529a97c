// Places of another compiler's sources, a nested module with a product of its own, a global table.
module {
  module @inner {
    func.func @unused(%x: f64) -> f64 {
      %y = arith.mulf %x, %x : f64
      return %y : f64
    }
  }
  memref.global "private" constant @table : memref<2x3xf32> = dense<[[0.5, -1.25, 3.0], [2.0, 0.1, 7.5]]> {alignment = 64 : i64}
  func.func @kernel(%a: memref<2x3xf32>, %out: memref<2x3xf32>) {
    %t = memref.get_global @table : memref<2x3xf32>
    %ub2 = arith.constant 2 : index
    %ub3 = arith.constant 3 : index
    %c0 = arith.constant 0 : index
    %c1 = arith.constant 1 : index
    scf.parallel (%i, %j) = (%c0, %c0) to (%ub2, %ub3) step (%c1, %c1) {
      %x = memref.load %a[%i, %j] : memref<2x3xf32> loc("net.py":12:3)
      %y = memref.load %t[%i, %j] : memref<2x3xf32>
      %p = arith.mulf %x, %y : f32 loc(fused<"layer">["net.py":13:3, callsite("f" at "g.py":1:2)])
      %z = arith.cmpf olt, %p, %x : f32
      %r = scf.if %z -> f32 {
        %d = arith.divf %p, %y : f32
        scf.yield %d : f32
      } else {
        %s = math.sqrt %p : f32
        scf.yield %s : f32
      }
      memref.store %r, %out[%i, %j] : memref<2x3xf32>
      scf.reduce
    }
    return
  }
}
