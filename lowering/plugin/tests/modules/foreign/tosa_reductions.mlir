// before: func.func(tosa-infer-shapes,tosa-make-broadcastable,tosa-to-linalg-named,canonicalize,tosa-to-linalg,tosa-to-arith,tosa-to-tensor)
func.func @kernel(%a: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %0 = tosa.reduce_sum %a {axis = 1 : i32} : (tensor<2x8xf32>) -> tensor<2x1xf32>
  %1 = tosa.reduce_product %a {axis = 1 : i32} : (tensor<2x8xf32>) -> tensor<2x1xf32>
  %2 = tosa.reduce_max %a {axis = 1 : i32} : (tensor<2x8xf32>) -> tensor<2x1xf32>
  %shift = "tosa.const"() {values = dense<0> : tensor<1xi8>} : () -> tensor<1xi8>
  %3 = tosa.sub %a, %2 : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  %4 = tosa.exp %3 : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %5 = tosa.reduce_sum %4 {axis = 1 : i32} : (tensor<2x8xf32>) -> tensor<2x1xf32>
  %6 = tosa.reciprocal %5 : (tensor<2x1xf32>) -> tensor<2x1xf32>
  %7 = tosa.mul %4, %6, %shift : (tensor<2x8xf32>, tensor<2x1xf32>, tensor<1xi8>) -> tensor<2x8xf32>
  %8 = tosa.mul %7, %0, %shift : (tensor<2x8xf32>, tensor<2x1xf32>, tensor<1xi8>) -> tensor<2x8xf32>
  %9 = tosa.add %8, %1 : (tensor<2x8xf32>, tensor<2x1xf32>) -> tensor<2x8xf32>
  return %9 : tensor<2x8xf32>
}
