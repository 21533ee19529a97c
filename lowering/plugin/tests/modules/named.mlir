// Named structured operations of several kinds.
#mk = affine_map<(d0, d1, d2) -> (d0, d2)>
#kn = affine_map<(d0, d1, d2) -> (d2, d1)>
#mn = affine_map<(d0, d1, d2) -> (d0, d1)>
func.func @kernel(%a: tensor<4x4xf32>, %b: tensor<4x4xf32>, %v: tensor<4xf32>) -> tensor<4x4xf32> {
  %zero = arith.constant 0.0 : f32
  %e2 = tensor.empty() : tensor<4x4xf32>
  %e1 = tensor.empty() : tensor<4xf32>
  %e0 = tensor.empty() : tensor<f32>
  %f2 = linalg.fill ins(%zero : f32) outs(%e2 : tensor<4x4xf32>) -> tensor<4x4xf32>
  %f1 = linalg.fill ins(%zero : f32) outs(%e1 : tensor<4xf32>) -> tensor<4xf32>
  %f0 = linalg.fill ins(%zero : f32) outs(%e0 : tensor<f32>) -> tensor<f32>
  %mv = linalg.matvec ins(%a, %v : tensor<4x4xf32>, tensor<4xf32>) outs(%f1 : tensor<4xf32>) -> tensor<4xf32>
  %vm = linalg.vecmat ins(%mv, %b : tensor<4xf32>, tensor<4x4xf32>) outs(%f1 : tensor<4xf32>) -> tensor<4xf32>
  %d = linalg.dot ins(%vm, %v : tensor<4xf32>, tensor<4xf32>) outs(%f0 : tensor<f32>) -> tensor<f32>
  %c = linalg.contract indexing_maps = [#mk, #kn, #mn]
      ins(%a, %b : tensor<4x4xf32>, tensor<4x4xf32>) outs(%f2 : tensor<4x4xf32>) -> tensor<4x4xf32>
  %t = linalg.matmul indexing_maps = [#mk, affine_map<(d0, d1, d2) -> (d1, d2)>, #mn]
      ins(%c, %b : tensor<4x4xf32>, tensor<4x4xf32>) outs(%f2 : tensor<4x4xf32>) -> tensor<4x4xf32>
  %x = linalg.exp ins(%a : tensor<4x4xf32>) outs(%e2 : tensor<4x4xf32>) -> tensor<4x4xf32>
  %y = linalg.elementwise kind=#linalg.elementwise_kind<mul>
      ins(%t, %x : tensor<4x4xf32>, tensor<4x4xf32>) outs(%e2 : tensor<4x4xf32>) -> tensor<4x4xf32>
  %z = linalg.div ins(%y, %b : tensor<4x4xf32>, tensor<4x4xf32>) outs(%e2 : tensor<4x4xf32>) -> tensor<4x4xf32>
  %s = tensor.extract %d[] : tensor<f32>
  %m = linalg.map ins(%z : tensor<4x4xf32>) outs(%e2 : tensor<4x4xf32>) (%in: f32, %init: f32) {
    %p = arith.mulf %in, %s : f32
    linalg.yield %p : f32
  }
  return %m : tensor<4x4xf32>
}
