// Winograd's convolution, decomposed by upstream.
func.func @kernel(%x: tensor<1x6x6x2xf32>, %w: tensor<2x3x3x2xf32>, %o: tensor<1x4x4x2xf32>) -> tensor<1x4x4x2xf32> {
  %0 = linalg.conv_2d_nhwc_fhwc ins(%x, %w : tensor<1x6x6x2xf32>, tensor<2x3x3x2xf32>) outs(%o : tensor<1x4x4x2xf32>) -> tensor<1x4x4x2xf32>
  return %0 : tensor<1x4x4x2xf32>
}
