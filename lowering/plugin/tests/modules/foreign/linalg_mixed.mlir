// f16 operands into an f32 sum, and bf16 elementwise.
#id = affine_map<(i, j) -> (i, j)>
func.func @kernel(%a: tensor<4x4xf32>, %b: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %z = arith.constant 0.0 : f32
  %ah = arith.truncf %a : tensor<4x4xf32> to tensor<4x4xf16>
  %bh = arith.truncf %b : tensor<4x4xf32> to tensor<4x4xf16>
  %e = tensor.empty() : tensor<4x4xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<4x4xf32>) -> tensor<4x4xf32>
  %m = linalg.matmul ins(%ah, %bh : tensor<4x4xf16>, tensor<4x4xf16>) outs(%f : tensor<4x4xf32>) -> tensor<4x4xf32>
  %eb = tensor.empty() : tensor<4x4xbf16>
  %g = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel", "parallel"]} ins(%m : tensor<4x4xf32>) outs(%eb : tensor<4x4xbf16>) {
  ^bb0(%in: f32, %out: bf16):
    %t = arith.truncf %in : f32 to bf16
    %two = arith.constant 3.0 : bf16
    %p = arith.mulf %t, %two : bf16
    %x = math.exp %p : bf16
    %y = math.powf %x, %two : bf16
    %q = arith.divf %y, %p : bf16
    linalg.yield %q : bf16
  } -> tensor<4x4xbf16>
  %r = arith.extf %g : tensor<4x4xbf16> to tensor<4x4xf32>
  return %r : tensor<4x4xf32>
}
// before: convert-elementwise-to-linalg
