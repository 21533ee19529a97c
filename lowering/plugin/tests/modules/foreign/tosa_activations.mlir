// before: func.func(tosa-infer-shapes,tosa-make-broadcastable,tosa-to-linalg-named,canonicalize,tosa-to-linalg,tosa-to-arith,tosa-to-tensor)
func.func @kernel(%a: tensor<2x8xf32>) -> tensor<2x8xf32> {
  %0 = tosa.exp %a : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %1 = tosa.log %0 : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %2 = tosa.tanh %1 : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %3 = tosa.sigmoid %a : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %4 = tosa.erf %a : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %5 = tosa.sin %a : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %6 = tosa.cos %a : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %7 = tosa.abs %a : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %8 = tosa.rsqrt %7 : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %9 = tosa.reciprocal %8 : (tensor<2x8xf32>) -> tensor<2x8xf32>
  %10 = tosa.add %2, %3 : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %11 = tosa.add %10, %4 : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %12 = tosa.add %11, %5 : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %13 = tosa.sub %12, %6 : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %14 = tosa.pow %9, %13 : (tensor<2x8xf32>, tensor<2x8xf32>) -> tensor<2x8xf32>
  %15 = tosa.clamp %14 {min_val = -1.0e+01 : f32, max_val = 1.0e+01 : f32} : (tensor<2x8xf32>) -> tensor<2x8xf32>
  return %15 : tensor<2x8xf32>
}
