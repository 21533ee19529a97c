// Scans by products and sums; upstream's transform script takes the latter apart.
// after: transform-interpreter,symbol-dce
module attributes {transform.with_named_sequence} {
  func.func @kernel(%a: memref<4x8xf32>, %b: memref<8xf32>, %out: memref<4x8xf32>) {
    %c0 = arith.constant 0 : index
    %pad = arith.constant 2.5 : f32
    %x = vector.transfer_read %a[%c0, %c0], %pad {in_bounds = [true, true]} : memref<4x8xf32>, vector<4x8xf32>
    %y = vector.transfer_read %b[%c0], %pad {in_bounds = [true]} : memref<8xf32>, vector<8xf32>
    %init = arith.constant dense<1.0> : vector<4xf32>
    %s:2 = vector.scan <mul>, %x, %init {inclusive = false, reduction_dim = 1} : vector<4x8xf32>, vector<4xf32>
    %t:2 = vector.scan <add>, %x, %y {inclusive = true, reduction_dim = 0} : vector<4x8xf32>, vector<8xf32>
    %u:2 = vector.scan <mul>, %x, %y {inclusive = true, reduction_dim = 0} : vector<4x8xf32>, vector<8xf32>
    %v = arith.addf %s#0, %t#0 : vector<4x8xf32>
    %w = arith.subf %v, %u#0 : vector<4x8xf32>
    %bb = vector.broadcast %u#1 : vector<8xf32> to vector<4x8xf32>
    %z = arith.addf %w, %bb : vector<4x8xf32>
    vector.transfer_write %z, %out[%c0, %c0] {in_bounds = [true, true]} : vector<4x8xf32>, memref<4x8xf32>
    return
  }
  transform.named_sequence private @__transform_main(%m: !transform.any_op {transform.readonly}) {
    %f = transform.structured.match ops{["func.func"]} in %m : (!transform.any_op) -> !transform.any_op
    transform.apply_patterns to %f { transform.apply_patterns.vector.lower_scan } : !transform.any_op
    transform.yield
  }
}
