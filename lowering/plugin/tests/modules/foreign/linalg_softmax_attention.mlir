// Attention: Q K^T scaled, softmax, times V.
#k = affine_map<(b, m, n, k) -> (b, m, k)>
#t = affine_map<(b, m, n, k) -> (b, n, k)>
#o = affine_map<(b, m, n, k) -> (b, m, n)>
#row = affine_map<(a, b, c) -> (a, b)>
#id = affine_map<(a, b, c) -> (a, b, c)>
func.func @kernel(%q: tensor<2x3x4xf32>, %k: tensor<2x3x4xf32>, %v: tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
  %z = arith.constant 0.0 : f32
  %s = arith.constant 0.5 : f32
  %e = tensor.empty() : tensor<2x3x3xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<2x3x3xf32>) -> tensor<2x3x3xf32>
  %qk = linalg.contract indexing_maps = [#k, #t, #o] ins(%q, %k : tensor<2x3x4xf32>, tensor<2x3x4xf32>) outs(%f : tensor<2x3x3xf32>) -> tensor<2x3x3xf32>
  %scaled = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%qk : tensor<2x3x3xf32>) outs(%e : tensor<2x3x3xf32>) {
  ^bb0(%in: f32, %out: f32):
    %p = arith.mulf %in, %s : f32
    linalg.yield %p : f32
  } -> tensor<2x3x3xf32>
  %low = arith.constant 0xFF800000 : f32
  %er = tensor.empty() : tensor<2x3xf32>
  %fl = linalg.fill ins(%low : f32) outs(%er : tensor<2x3xf32>) -> tensor<2x3xf32>
  %fz = linalg.fill ins(%z : f32) outs(%er : tensor<2x3xf32>) -> tensor<2x3xf32>
  %max = linalg.reduce { arith.maximumf } ins(%scaled : tensor<2x3x3xf32>) outs(%fl : tensor<2x3xf32>) dimensions = [2]
  %num = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%scaled, %max : tensor<2x3x3xf32>, tensor<2x3xf32>) outs(%e : tensor<2x3x3xf32>) {
  ^bb0(%in: f32, %m: f32, %out: f32):
    %d = arith.subf %in, %m : f32
    %x = math.exp %d : f32
    linalg.yield %x : f32
  } -> tensor<2x3x3xf32>
  %sum = linalg.reduce { arith.addf } ins(%num : tensor<2x3x3xf32>) outs(%fz : tensor<2x3xf32>) dimensions = [2]
  %p = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel", "parallel"]} ins(%num, %sum : tensor<2x3x3xf32>, tensor<2x3xf32>) outs(%e : tensor<2x3x3xf32>) {
  ^bb0(%in: f32, %t: f32, %out: f32):
    %d = arith.divf %in, %t : f32
    linalg.yield %d : f32
  } -> tensor<2x3x3xf32>
  %eo = tensor.empty() : tensor<2x3x4xf32>
  %fo = linalg.fill ins(%z : f32) outs(%eo : tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %y = linalg.batch_matmul ins(%p, %v : tensor<2x3x3xf32>, tensor<2x3x4xf32>) outs(%fo : tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  return %y : tensor<2x3x4xf32>
}
// before: func.func(linalg-generalize-named-ops)
