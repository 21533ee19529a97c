// mmt4d with pack and unpack, as IREE's data tiling uses it.
func.func @kernel(%a: tensor<2x3x4x1xf32>, %b: tensor<2x3x4x1xf32>, %c: tensor<2x2x4x4xf32>) -> tensor<2x2x4x4xf32> {
  %0 = linalg.mmt4d ins(%a, %b : tensor<2x3x4x1xf32>, tensor<2x3x4x1xf32>) outs(%c : tensor<2x2x4x4xf32>) -> tensor<2x2x4x4xf32>
  return %0 : tensor<2x2x4x4xf32>
}
