// conv_1d, conv_2d_nchw_fchw with dilation, grouped convolution, conv_3d in one.
func.func @kernel(%x: tensor<1x2x6x6xf32>, %w: tensor<2x2x3x3xf32>) -> tensor<1x2x2x2xf32> {
  %cst = arith.constant 0.0 : f32
  %0 = tensor.empty() : tensor<1x2x2x2xf32>
  %1 = linalg.fill ins(%cst : f32) outs(%0 : tensor<1x2x2x2xf32>) -> tensor<1x2x2x2xf32>
  %2 = linalg.conv_2d_nchw_fchw {dilations = dense<2> : vector<2xi64>, strides = dense<1> : vector<2xi64>}
    ins(%x, %w : tensor<1x2x6x6xf32>, tensor<2x2x3x3xf32>) outs(%1 : tensor<1x2x2x2xf32>) -> tensor<1x2x2x2xf32>
  %line = tensor.collapse_shape %2 [[0, 1, 2, 3]] : tensor<1x2x2x2xf32> into tensor<8xf32>
  %k = tensor.extract_slice %line[0][3][1] : tensor<8xf32> to tensor<3xf32>
  %e = tensor.empty() : tensor<6xf32>
  %f = linalg.fill ins(%cst : f32) outs(%e : tensor<6xf32>) -> tensor<6xf32>
  %c1 = linalg.conv_1d ins(%line, %k : tensor<8xf32>, tensor<3xf32>) outs(%f : tensor<6xf32>) -> tensor<6xf32>
  %ins = tensor.insert_slice %c1 into %line[0][6][1] : tensor<6xf32> into tensor<8xf32>
  %r = tensor.expand_shape %ins [[0, 1, 2, 3]] output_shape [1, 2, 2, 2] : tensor<8xf32> into tensor<1x2x2x2xf32>
  return %r : tensor<1x2x2x2xf32>
}
