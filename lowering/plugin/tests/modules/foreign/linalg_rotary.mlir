// Positions that become numbers in the body of a generic: a rotary embedding.
#id = affine_map<(i, j) -> (i, j)>
func.func @kernel(%x: tensor<4x6xf32>) -> tensor<4x6xf32> {
  %base = arith.constant 1.0e+04 : f32
  %six = arith.constant 6.0 : f32
  %e = tensor.empty() : tensor<4x6xf32>
  %r = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%x : tensor<4x6xf32>) outs(%e : tensor<4x6xf32>) {
  ^bb0(%in: f32, %out: f32):
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %i32 = arith.index_cast %i : index to i32
    %j32 = arith.index_cast %j : index to i32
    %fi = arith.sitofp %i32 : i32 to f32
    %fj = arith.sitofp %j32 : i32 to f32
    %p = arith.divf %fj, %six : f32
    %w = math.powf %base, %p : f32
    %a = arith.divf %fi, %w : f32
    %s = math.sin %a : f32
    %c = math.cos %a : f32
    %u = arith.mulf %in, %c : f32
    %v = math.fma %in, %s, %u : f32
    linalg.yield %v : f32
  } -> tensor<4x6xf32>
  return %r : tensor<4x6xf32>
}
