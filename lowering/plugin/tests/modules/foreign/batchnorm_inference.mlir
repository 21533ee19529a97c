// Batch normalization with fixed statistics, as torch-mlir writes it.
#id = affine_map<(n, c, h, w) -> (n, c, h, w)>
#c = affine_map<(n, c, h, w) -> (c)>
func.func @kernel(%x: tensor<2x3x2x2xf32>, %g: tensor<3xf32>, %b: tensor<3xf32>, %m: tensor<3xf32>, %v: tensor<3xf32>) -> tensor<2x3x2x2xf32> {
  %eps = arith.constant 1.000000e-05 : f64
  %r = linalg.generic {indexing_maps = [#id, #c, #c, #c, #c, #id], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
    ins(%x, %g, %b, %m, %v : tensor<2x3x2x2xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>, tensor<3xf32>) outs(%x : tensor<2x3x2x2xf32>) {
  ^bb0(%in: f32, %in_1: f32, %in_2: f32, %in_3: f32, %in_4: f32, %out: f32):
    %0 = arith.truncf %eps : f64 to f32
    %1 = math.absf %in_4 : f32
    %2 = arith.addf %1, %0 : f32
    %3 = math.rsqrt %2 : f32
    %4 = arith.subf %in, %in_3 : f32
    %5 = arith.mulf %4, %3 : f32
    %6 = arith.mulf %5, %in_1 : f32
    %7 = arith.addf %6, %in_2 : f32
    linalg.yield %7 : f32
  } -> tensor<2x3x2x2xf32>
  return %r : tensor<2x3x2x2xf32>
}
