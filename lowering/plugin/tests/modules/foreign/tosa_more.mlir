// Element-wise and reducing operations of TOSA.
// before: func.func(tosa-infer-shapes,tosa-make-broadcastable,tosa-to-linalg-named,tosa-to-linalg,tosa-to-arith,tosa-to-scf,tosa-to-tensor)
func.func @kernel(%x: tensor<4x6xf32>, %y: tensor<4x6xf32>, %s: tensor<1x6xf32>) -> tensor<4x6xf32> {
  %sh = "tosa.const"() {values = dense<0> : tensor<1xi8>} : () -> tensor<1xi8>
  %0 = tosa.mul %x, %s, %sh : (tensor<4x6xf32>, tensor<1x6xf32>, tensor<1xi8>) -> tensor<4x6xf32>
  %1 = tosa.sigmoid %0 : (tensor<4x6xf32>) -> tensor<4x6xf32>
  %2 = tosa.tanh %0 : (tensor<4x6xf32>) -> tensor<4x6xf32>
  %3 = tosa.abs %y : (tensor<4x6xf32>) -> tensor<4x6xf32>
  %4 = tosa.rsqrt %3 : (tensor<4x6xf32>) -> tensor<4x6xf32>
  %5 = tosa.reciprocal %y : (tensor<4x6xf32>) -> tensor<4x6xf32>
  %6 = tosa.pow %3, %x : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>
  %7 = tosa.erf %x : (tensor<4x6xf32>) -> tensor<4x6xf32>
  %8 = tosa.sin %x : (tensor<4x6xf32>) -> tensor<4x6xf32>
  %9 = tosa.cos %y : (tensor<4x6xf32>) -> tensor<4x6xf32>
  %10 = tosa.log %3 : (tensor<4x6xf32>) -> tensor<4x6xf32>
  %11 = tosa.exp %2 : (tensor<4x6xf32>) -> tensor<4x6xf32>
  %p = tosa.reduce_product %x {axis = 0 : i32} : (tensor<4x6xf32>) -> tensor<1x6xf32>
  %q = tosa.reduce_sum %y {axis = 0 : i32} : (tensor<4x6xf32>) -> tensor<1x6xf32>
  %12 = tosa.add %1, %4 : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>
  %13 = tosa.sub %12, %5 : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>
  %14 = tosa.maximum %13, %6 : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>
  %15 = tosa.add %14, %7 : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>
  %16 = tosa.add %8, %9 : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>
  %17 = tosa.minimum %16, %10 : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>
  %18 = tosa.add %15, %17 : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>
  %19 = tosa.add %18, %11 : (tensor<4x6xf32>, tensor<4x6xf32>) -> tensor<4x6xf32>
  %20 = tosa.mul %19, %p, %sh : (tensor<4x6xf32>, tensor<1x6xf32>, tensor<1xi8>) -> tensor<4x6xf32>
  %21 = tosa.sub %20, %q : (tensor<4x6xf32>, tensor<1x6xf32>) -> tensor<4x6xf32>
  return %21 : tensor<4x6xf32>
}
