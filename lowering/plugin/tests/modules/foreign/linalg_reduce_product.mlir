// Reductions and maps whose bodies multiply, short forms, transpose and broadcast.
func.func @kernel(%a: tensor<3x4xf32>, %b: tensor<4xf32>, %d: tensor<4x3xf32>) -> tensor<4x3xf32> {
  %one = arith.constant 1.0 : f32
  %e3 = tensor.empty() : tensor<3xf32>
  %i3 = linalg.fill ins(%one : f32) outs(%e3 : tensor<3xf32>) -> tensor<3xf32>
  %p = linalg.reduce { arith.mulf } ins(%a : tensor<3x4xf32>) outs(%i3 : tensor<3xf32>) dimensions = [1]
  %q = linalg.reduce ins(%a : tensor<3x4xf32>) outs(%i3 : tensor<3xf32>) dimensions = [1] (%x: f32, %acc: f32) {
    %s = arith.mulf %x, %x : f32
    %t = arith.addf %acc, %s : f32
    linalg.yield %t : f32
  }
  %e43 = tensor.empty() : tensor<4x3xf32>
  %t = linalg.transpose ins(%a : tensor<3x4xf32>) outs(%e43 : tensor<4x3xf32>) permutation = [1, 0]
  %bb = linalg.broadcast ins(%b : tensor<4xf32>) outs(%e43 : tensor<4x3xf32>) dimensions = [1]
  %qb = linalg.broadcast ins(%q : tensor<3xf32>) outs(%e43 : tensor<4x3xf32>) dimensions = [0]
  %pb = linalg.broadcast ins(%p : tensor<3xf32>) outs(%e43 : tensor<4x3xf32>) dimensions = [0]
  %m = linalg.map { arith.mulf } ins(%t, %bb : tensor<4x3xf32>, tensor<4x3xf32>) outs(%e43 : tensor<4x3xf32>)
  %n = linalg.map ins(%m, %qb, %pb, %d : tensor<4x3xf32>, tensor<4x3xf32>, tensor<4x3xf32>, tensor<4x3xf32>) outs(%e43 : tensor<4x3xf32>)
    (%x: f32, %y: f32, %w: f32, %v: f32, %o: f32) {
      %k = math.rsqrt %y : f32
      %l = arith.mulf %x, %k : f32
      %u = math.fma %l, %w, %v : f32
      linalg.yield %u : f32
    }
  return %n : tensor<4x3xf32>
}
