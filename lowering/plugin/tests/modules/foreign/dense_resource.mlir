// Weights in resources, as exporters write large constants.
// after: func.func(convert-elementwise-to-linalg)
func.func @kernel(%a: tensor<3x4xf32>) -> tensor<3x2xf32> {
  %w = arith.constant dense_resource<w> : tensor<4x2xf32>
  %b = arith.constant dense_resource<b> : tensor<2xf32>
  %e = tensor.empty() : tensor<3x2xf32>
  %bb = linalg.broadcast ins(%b : tensor<2xf32>) outs(%e : tensor<3x2xf32>) dimensions = [0]
  %r = linalg.matmul ins(%a, %w : tensor<3x4xf32>, tensor<4x2xf32>) outs(%bb : tensor<3x2xf32>) -> tensor<3x2xf32>
  %s = math.erf %r : tensor<3x2xf32>
  return %s : tensor<3x2xf32>
}
{-#
  dialect_resources: {
    builtin: {
      w: "0x040000000000803F000000C00000003F0000404000002041000080BF0000C03F9A99993E",
      b: "0x040000000000803E000000BF"
    }
  }
#-}
