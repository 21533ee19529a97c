// A convolution in three dimensions and a grouped one.
func.func @kernel(%x: tensor<1x3x4x3x2xf32>, %w: tensor<2x2x2x2x2xf32>, %g: tensor<1x2x2x4x4xf32>, %gw: tensor<2x1x2x3x3xf32>) -> tensor<1x2x3x2x2xf32> {
  %cst = arith.constant 0.0 : f32
  %0 = tensor.empty() : tensor<1x2x3x2x2xf32>
  %1 = linalg.fill ins(%cst : f32) outs(%0 : tensor<1x2x3x2x2xf32>) -> tensor<1x2x3x2x2xf32>
  %2 = linalg.conv_3d_ndhwc_dhwcf {dilations = dense<1> : vector<3xi64>, strides = dense<1> : vector<3xi64>}
    ins(%x, %w : tensor<1x3x4x3x2xf32>, tensor<2x2x2x2x2xf32>) outs(%1 : tensor<1x2x3x2x2xf32>) -> tensor<1x2x3x2x2xf32>
  %e = tensor.empty() : tensor<1x2x1x2x2xf32>
  %f = linalg.fill ins(%cst : f32) outs(%e : tensor<1x2x1x2x2xf32>) -> tensor<1x2x1x2x2xf32>
  %3 = linalg.conv_2d_ngchw_gfchw {dilations = dense<1> : vector<2xi64>, strides = dense<1> : vector<2xi64>}
    ins(%g, %gw : tensor<1x2x2x4x4xf32>, tensor<2x1x2x3x3xf32>) outs(%f : tensor<1x2x1x2x2xf32>) -> tensor<1x2x1x2x2xf32>
  %4 = tensor.insert_slice %3 into %2[0,0,0,0,0][1,2,1,2,2][1,1,1,1,1] : tensor<1x2x1x2x2xf32> into tensor<1x2x3x2x2xf32>
  return %4 : tensor<1x2x3x2x2xf32>
}
