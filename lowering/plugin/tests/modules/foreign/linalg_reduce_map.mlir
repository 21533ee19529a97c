// linalg.map and linalg.reduce, in short form and with bodies.
func.func @kernel(%a: tensor<4x5xf32>, %b: tensor<4x5xf32>) -> tensor<4xf32> {
  %one = arith.constant 1.0 : f32
  %e = tensor.empty() : tensor<4x5xf32>
  %m = linalg.map { arith.mulf } ins(%a, %b : tensor<4x5xf32>, tensor<4x5xf32>) outs(%e : tensor<4x5xf32>)
  %e1 = tensor.empty() : tensor<4xf32>
  %f = linalg.fill ins(%one : f32) outs(%e1 : tensor<4xf32>) -> tensor<4xf32>
  %r = linalg.reduce { arith.mulf } ins(%m : tensor<4x5xf32>) outs(%f : tensor<4xf32>) dimensions = [1]
  %n = linalg.reduce ins(%a : tensor<4x5xf32>) outs(%r : tensor<4xf32>) dimensions = [1]
    (%in: f32, %acc: f32) {
      %s = arith.mulf %in, %in : f32
      %t = arith.addf %acc, %s : f32
      linalg.yield %t : f32
    }
  return %n : tensor<4xf32>
}
