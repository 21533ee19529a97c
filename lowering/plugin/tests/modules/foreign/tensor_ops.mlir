// Elementwise arith on tensors in functions, tensor.generate, tensor.pad with products inside.
func.func @kernel(%a: tensor<3x4xf32>, %b: tensor<3x4xf32>) -> tensor<5x6xf32> {
  %0 = arith.mulf %a, %b : tensor<3x4xf32>
  %1 = math.exp %0 : tensor<3x4xf32>
  %c = arith.constant dense<[[1.0, 2.0, 3.0, 4.0], [1.5, 2.5, 3.5, 4.5], [0.1, 0.2, 0.3, 0.4]]> : tensor<3x4xf32>
  %2 = arith.divf %1, %c : tensor<3x4xf32>
  %z = arith.constant 1.25 : f32
  %p = tensor.pad %2 low[1, 1] high[1, 1] {
  ^bb0(%i: index, %j: index):
    %k = arith.index_cast %i : index to i32
    %f = arith.sitofp %k : i32 to f32
    %q = arith.mulf %f, %z : f32
    tensor.yield %q : f32
  } : tensor<3x4xf32> to tensor<5x6xf32>
  return %p : tensor<5x6xf32>
}
// after: convert-elementwise-to-linalg
