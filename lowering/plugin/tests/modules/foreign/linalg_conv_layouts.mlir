// Convolutions in several layouts, generalized by upstream first.
// before: func.func(linalg-generalize-named-ops)
func.func @kernel(%x: tensor<1x5x5x2xf32>, %w: tensor<3x3x2x4xf32>, %dw: tensor<2x2x4xf32>, %one: tensor<1x1x4x2xf32>) -> tensor<1x2x2x2xf32> {
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x3x3x4xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<1x3x3x4xf32>) -> tensor<1x3x3x4xf32>
  %0 = linalg.conv_2d_nhwc_hwcf {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>} ins(%x, %w : tensor<1x5x5x2xf32>, tensor<3x3x2x4xf32>) outs(%f : tensor<1x3x3x4xf32>) -> tensor<1x3x3x4xf32>
  %e1 = tensor.empty() : tensor<1x2x2x4xf32>
  %f1 = linalg.fill ins(%z : f32) outs(%e1 : tensor<1x2x2x4xf32>) -> tensor<1x2x2x4xf32>
  %1 = linalg.depthwise_conv_2d_nhwc_hwc {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>} ins(%0, %dw : tensor<1x3x3x4xf32>, tensor<2x2x4xf32>) outs(%f1 : tensor<1x2x2x4xf32>) -> tensor<1x2x2x4xf32>
  %e2 = tensor.empty() : tensor<1x2x2x2xf32>
  %f2 = linalg.fill ins(%z : f32) outs(%e2 : tensor<1x2x2x2xf32>) -> tensor<1x2x2x2xf32>
  %2 = linalg.conv_2d_nhwc_hwcf ins(%1, %one : tensor<1x2x2x4xf32>, tensor<1x1x4x2xf32>) outs(%f2 : tensor<1x2x2x2xf32>) -> tensor<1x2x2x2xf32>
  return %2 : tensor<1x2x2x2xf32>
}
