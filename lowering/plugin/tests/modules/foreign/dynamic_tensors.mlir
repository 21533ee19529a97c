// Dynamic shapes: element-wise arith and math on whole tensors, named operations, a loop that carries a tensor.
// after: func.func(convert-elementwise-to-linalg,empty-tensor-to-alloc-tensor)
func.func @kernel(%a: tensor<?x4xf32>, %b: tensor<4x?xf32>) -> tensor<?x?xf32> {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %z = arith.constant 0.0 : f32
  %n = tensor.dim %a, %c0 : tensor<?x4xf32>
  %m = tensor.dim %b, %c1 : tensor<4x?xf32>
  %e = tensor.empty(%n, %m) : tensor<?x?xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<?x?xf32>) -> tensor<?x?xf32>
  %p = linalg.matmul ins(%a, %b : tensor<?x4xf32>, tensor<4x?xf32>) outs(%f : tensor<?x?xf32>) -> tensor<?x?xf32>
  %q = math.tanh %p : tensor<?x?xf32>
  %r = arith.mulf %p, %q : tensor<?x?xf32>
  %u = math.fma %r, %q, %p : tensor<?x?xf32>
    %v = math.absf %u : tensor<?x?xf32>
    %w = math.sqrt %v fastmath<afn> : tensor<?x?xf32>
  return %w : tensor<?x?xf32>
}
