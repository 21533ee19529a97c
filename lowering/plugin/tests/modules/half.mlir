// 16-bit floats: f16 products summed in f32, and bf16 functions.
func.func @kernel(%a: tensor<4x4xf32>, %b: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x4xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<4x4xf32>) -> tensor<4x4xf32>
  %ah = arith.truncf %a : tensor<4x4xf32> to tensor<4x4xf16>
  %bh = arith.truncf %b : tensor<4x4xf32> to tensor<4x4xf16>
  %p = arith.mulf %ah, %bh : tensor<4x4xf16>
  %m = linalg.matmul ins(%p, %bh : tensor<4x4xf16>, tensor<4x4xf16>) outs(%f : tensor<4x4xf32>) -> tensor<4x4xf32>
  return %m : tensor<4x4xf32>
}
