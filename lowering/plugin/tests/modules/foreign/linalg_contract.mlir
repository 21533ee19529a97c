// A contraction over two axes by maps that permute.
#a = affine_map<(m, n, k, p) -> (k, m, p)>
#b = affine_map<(m, n, k, p) -> (n, p, k)>
#c = affine_map<(m, n, k, p) -> (n, m)>
func.func @kernel(%a: tensor<3x4x2xf32>, %b: tensor<5x2x3xf32>, %d: tensor<5x4xf32>) -> tensor<5x4xf32> {
  %0 = linalg.contract indexing_maps = [#a, #b, #c]
     ins(%a, %b : tensor<3x4x2xf32>, tensor<5x2x3xf32>) outs(%d : tensor<5x4xf32>) -> tensor<5x4xf32>
  return %0 : tensor<5x4xf32>
}
