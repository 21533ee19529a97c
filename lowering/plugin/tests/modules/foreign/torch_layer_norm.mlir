// As torch-mlir writes a layer norm: sums in f32, division by the count as a constant, rsqrt; fastmath throughout.
#map = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0, 0)>
#col = affine_map<(d0, d1) -> (d1)>
module attributes {torch.debug_module_name = "Norm"} {
  func.func @kernel(%arg0: tensor<3x8xf32>, %g: tensor<8xf32>, %b: tensor<8xf32>) -> tensor<3x8xf32> {
    %cst = arith.constant 0.000000e+00 : f32
    %n = arith.constant 8.000000e+00 : f32
    %eps = arith.constant 9.99999974E-6 : f64
    %0 = tensor.empty() : tensor<3x1xf32>
    %1 = linalg.fill ins(%cst : f32) outs(%0 : tensor<3x1xf32>) -> tensor<3x1xf32>
    %2 = linalg.generic {indexing_maps = [#map, #row], iterator_types = ["parallel", "reduction"]} ins(%arg0 : tensor<3x8xf32>) outs(%1 : tensor<3x1xf32>) {
    ^bb0(%in: f32, %out: f32):
      %12 = arith.addf %in, %out : f32
      linalg.yield %12 : f32
    } -> tensor<3x1xf32>
    %3 = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%2 : tensor<3x1xf32>) outs(%0 : tensor<3x1xf32>) {
    ^bb0(%in: f32, %out: f32):
      %12 = arith.divf %in, %n fastmath<fast> : f32
      linalg.yield %12 : f32
    } -> tensor<3x1xf32>
    %4 = tensor.empty() : tensor<3x8xf32>
    %5 = linalg.generic {indexing_maps = [#map, #row, #map], iterator_types = ["parallel", "parallel"]} ins(%arg0, %3 : tensor<3x8xf32>, tensor<3x1xf32>) outs(%4 : tensor<3x8xf32>) {
    ^bb0(%in: f32, %in_0: f32, %out: f32):
      %12 = arith.subf %in, %in_0 fastmath<contract,reassoc> : f32
      linalg.yield %12 : f32
    } -> tensor<3x8xf32>
    %6 = linalg.generic {indexing_maps = [#map, #row], iterator_types = ["parallel", "reduction"]} ins(%5 : tensor<3x8xf32>) outs(%1 : tensor<3x1xf32>) {
    ^bb0(%in: f32, %out: f32):
      %12 = arith.mulf %in, %in fastmath<fast> : f32
      %13 = arith.addf %12, %out fastmath<fast> : f32
      linalg.yield %13 : f32
    } -> tensor<3x1xf32>
    %7 = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%6 : tensor<3x1xf32>) outs(%0 : tensor<3x1xf32>) {
    ^bb0(%in: f32, %out: f32):
      %12 = arith.divf %in, %n : f32
      %13 = arith.truncf %eps : f64 to f32
      %14 = arith.addf %12, %13 : f32
      %15 = math.rsqrt %14 : f32
      linalg.yield %15 : f32
    } -> tensor<3x1xf32>
    %8 = linalg.generic {indexing_maps = [#map, #row, #col, #col, #map], iterator_types = ["parallel", "parallel"]} ins(%5, %7, %g, %b : tensor<3x8xf32>, tensor<3x1xf32>, tensor<8xf32>, tensor<8xf32>) outs(%4 : tensor<3x8xf32>) {
    ^bb0(%in: f32, %in_0: f32, %in_1: f32, %in_2: f32, %out: f32):
      %12 = arith.mulf %in, %in_0 : f32
      %13 = arith.mulf %12, %in_1 : f32
      %14 = arith.addf %13, %in_2 : f32
      linalg.yield %14 : f32
    } -> tensor<3x8xf32>
    return %8 : tensor<3x8xf32>
  }
}
