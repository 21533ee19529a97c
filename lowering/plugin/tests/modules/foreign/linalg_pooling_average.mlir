// Average pooling as torch-mlir has it: a sum pool, then a division by the window.
#id = affine_map<(a,b,c,d) -> (a,b,c,d)>
func.func @kernel(%x: tensor<1x2x5x5xf32>) -> tensor<1x2x3x3xf32> {
  %cst = arith.constant 0.0 : f32
  %n = arith.constant 9.0 : f32
  %0 = tensor.empty() : tensor<1x2x3x3xf32>
  %w = tensor.empty() : tensor<3x3xf32>
  %1 = linalg.fill ins(%cst : f32) outs(%0 : tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %2 = linalg.pooling_nchw_sum {dilations = dense<1> : vector<2xi64>, strides = dense<1> : vector<2xi64>}
    ins(%x, %w : tensor<1x2x5x5xf32>, tensor<3x3xf32>) outs(%1 : tensor<1x2x3x3xf32>) -> tensor<1x2x3x3xf32>
  %3 = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel","parallel","parallel","parallel"]}
    ins(%2 : tensor<1x2x3x3xf32>) outs(%0 : tensor<1x2x3x3xf32>) {
  ^bb0(%in: f32, %out: f32):
    %d = arith.divf %in, %n : f32
    linalg.yield %d : f32
  } -> tensor<1x2x3x3xf32>
  return %3 : tensor<1x2x3x3xf32>
}
