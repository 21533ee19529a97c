// Batched product with a transposed operand by indexing maps.
#a = affine_map<(b, i, j, k) -> (b, i, k)>
#bm = affine_map<(b, i, j, k) -> (b, j, k)>
#c = affine_map<(b, i, j, k) -> (b, i, j)>
func.func @kernel(%a: tensor<2x3x5xf32>, %b: tensor<2x4x5xf32>, %d: tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
  %0 = linalg.batch_matmul indexing_maps = [#a, #bm, #c]
     ins(%a, %b : tensor<2x3x5xf32>, tensor<2x4x5xf32>) outs(%d : tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  return %0 : tensor<2x3x4xf32>
}
