// Products of matrices under further names.
func.func @kernel(%a: tensor<2x3x4xf32>, %b: tensor<2x4x3xf32>, %v: tensor<2x4xf32>, %o: tensor<3x3xf32>) -> tensor<3x3xf32> {
  %0 = linalg.batch_reduce_matmul ins(%a, %b : tensor<2x3x4xf32>, tensor<2x4x3xf32>) outs(%o : tensor<3x3xf32>) -> tensor<3x3xf32>
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<2x3xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<2x3xf32>) -> tensor<2x3xf32>
  %1 = linalg.batch_matvec ins(%a, %v : tensor<2x3x4xf32>, tensor<2x4xf32>) outs(%f : tensor<2x3xf32>) -> tensor<2x3xf32>
  %2 = linalg.batch_vecmat ins(%v, %b : tensor<2x4xf32>, tensor<2x4x3xf32>) outs(%1 : tensor<2x3xf32>) -> tensor<2x3xf32>
  %3 = tensor.insert_slice %2 into %0[0, 0][2, 3][1, 1] : tensor<2x3xf32> into tensor<3x3xf32>
  return %3 : tensor<3x3xf32>
}
