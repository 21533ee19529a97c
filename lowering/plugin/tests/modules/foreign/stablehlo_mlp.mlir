// What StableHLO's legalization to linalg leaves: linalg.map with named bodies, broadcast, transposes.
func.func @kernel(%arg0: tensor<2x4xf32>, %arg1: tensor<4x3xf32>, %arg2: tensor<3xf32>) -> tensor<2x3xf32> {
  %cst = arith.constant 0.0 : f32
  %0 = tensor.empty() : tensor<2x3xf32>
  %1 = linalg.fill ins(%cst : f32) outs(%0 : tensor<2x3xf32>) -> tensor<2x3xf32>
  %2 = linalg.matmul ins(%arg0, %arg1 : tensor<2x4xf32>, tensor<4x3xf32>) outs(%1 : tensor<2x3xf32>) -> tensor<2x3xf32>
  %b = tensor.empty() : tensor<2x3xf32>
  %3 = linalg.broadcast ins(%arg2 : tensor<3xf32>) outs(%b : tensor<2x3xf32>) dimensions = [0]
  %4 = linalg.map { arith.addf } ins(%2, %3 : tensor<2x3xf32>, tensor<2x3xf32>) outs(%0 : tensor<2x3xf32>)
  %5 = linalg.map { math.tanh } ins(%4 : tensor<2x3xf32>) outs(%0 : tensor<2x3xf32>)
  %6 = linalg.map { arith.negf } ins(%5 : tensor<2x3xf32>) outs(%0 : tensor<2x3xf32>)
  %7 = linalg.map { math.expm1 } ins(%6 : tensor<2x3xf32>) outs(%0 : tensor<2x3xf32>)
  %x = linalg.map { math.absf } ins(%2 : tensor<2x3xf32>) outs(%0 : tensor<2x3xf32>)
  %8 = linalg.map { math.log1p } ins(%x : tensor<2x3xf32>) outs(%0 : tensor<2x3xf32>)
  %9 = linalg.map { arith.divf } ins(%7, %8 : tensor<2x3xf32>, tensor<2x3xf32>) outs(%0 : tensor<2x3xf32>)
  return %9 : tensor<2x3xf32>
}
