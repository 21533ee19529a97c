// Named vector and matrix products, powers, squares and their like.
func.func @kernel(%a: tensor<6xf32>, %b: tensor<6xf32>, %m: tensor<6x4xf32>, %o: tensor<4x6xf32>, %d: tensor<4xf32>) -> tensor<4xf32> {
  %z = arith.constant 0.0 : f32
  %e0 = tensor.empty() : tensor<f32>
  %f0 = linalg.fill ins(%z : f32) outs(%e0 : tensor<f32>) -> tensor<f32>
  %dot = linalg.dot ins(%a, %b : tensor<6xf32>, tensor<6xf32>) outs(%f0 : tensor<f32>) -> tensor<f32>
  %vm = linalg.vecmat ins(%a, %m : tensor<6xf32>, tensor<6x4xf32>) outs(%d : tensor<4xf32>) -> tensor<4xf32>
  %mv = linalg.matvec ins(%o, %b : tensor<4x6xf32>, tensor<6xf32>) outs(%vm : tensor<4xf32>) -> tensor<4xf32>
  %s = tensor.extract %dot[] : tensor<f32>
  %e1 = tensor.empty() : tensor<4xf32>
  %g = linalg.fill ins(%s : f32) outs(%e1 : tensor<4xf32>) -> tensor<4xf32>
  %r = linalg.sub ins(%mv, %g : tensor<4xf32>, tensor<4xf32>) outs(%e1 : tensor<4xf32>) -> tensor<4xf32>
  %r2 = linalg.powf ins(%r, %d : tensor<4xf32>, tensor<4xf32>) outs(%e1 : tensor<4xf32>) -> tensor<4xf32>
  %r3 = linalg.square ins(%r : tensor<4xf32>) outs(%e1 : tensor<4xf32>) -> tensor<4xf32>
  %r4 = linalg.reciprocal ins(%r3 : tensor<4xf32>) outs(%e1 : tensor<4xf32>) -> tensor<4xf32>
  %r5 = linalg.rsqrt ins(%r3 : tensor<4xf32>) outs(%e1 : tensor<4xf32>) -> tensor<4xf32>
  %r6 = linalg.erf ins(%r : tensor<4xf32>) outs(%e1 : tensor<4xf32>) -> tensor<4xf32>
  %r7 = linalg.negf ins(%r6 : tensor<4xf32>) outs(%e1 : tensor<4xf32>) -> tensor<4xf32>
  %s1 = linalg.add ins(%r4, %r5 : tensor<4xf32>, tensor<4xf32>) outs(%e1 : tensor<4xf32>) -> tensor<4xf32>
  %s2 = linalg.add ins(%s1, %r7 : tensor<4xf32>, tensor<4xf32>) outs(%e1 : tensor<4xf32>) -> tensor<4xf32>
  %s3 = linalg.max ins(%s2, %r2 : tensor<4xf32>, tensor<4xf32>) outs(%e1 : tensor<4xf32>) -> tensor<4xf32>
  return %s3 : tensor<4xf32>
}
