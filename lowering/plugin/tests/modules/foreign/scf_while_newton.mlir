// Newton's square root in an scf.while, with an scf.index_switch.
func.func @kernel(%a: memref<8xf32>, %out: memref<8xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c8 = arith.constant 8 : index
  %half = arith.constant 0.5 : f32
  %lim = arith.constant 4 : i32
  %i0 = arith.constant 0 : i32
  %i1 = arith.constant 1 : i32
  scf.for %i = %c0 to %c8 step %c1 {
    %x = memref.load %a[%i] : memref<8xf32>
    %ax = math.absf %x : f32
    %r:2 = scf.while (%g = %ax, %n = %i0) : (f32, i32) -> (f32, i32) {
      %more = arith.cmpi slt, %n, %lim : i32
      scf.condition(%more) %g, %n : f32, i32
    } do {
    ^bb0(%g: f32, %n: i32):
      %q = arith.divf %ax, %g : f32
      %s = arith.addf %g, %q : f32
      %h = arith.mulf %s, %half : f32
      %n1 = arith.addi %n, %i1 : i32
      scf.yield %h, %n1 : f32, i32
    }
    %v = scf.index_switch %i -> f32
    case 2 {
      %sq = arith.mulf %r#0, %r#0 : f32
      scf.yield %sq : f32
    }
    case 5 {
      %sq = math.rsqrt %r#0 : f32
      scf.yield %sq : f32
    }
    default {
      scf.yield %r#0 : f32
    }
    memref.store %v, %out[%i] : memref<8xf32>
  }
  return
}
