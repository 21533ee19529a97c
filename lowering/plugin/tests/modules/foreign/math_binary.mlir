// Functions of two operands and the remainder, on tensors.
func.func @kernel(%a: tensor<4x4xf32>, %b: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %0 = math.powf %a, %b : tensor<4x4xf32>
  %1 = math.atan2 %a, %b : tensor<4x4xf32>
  %2 = math.copysign %0, %1 : tensor<4x4xf32>
  %3 = arith.remf %2, %b : tensor<4x4xf32>
  %4 = math.fma %3, %a, %b : tensor<4x4xf32>
  %5 = arith.maximumf %4, %1 : tensor<4x4xf32>
  %6 = arith.minnumf %5, %0 : tensor<4x4xf32>
  %7 = arith.addf %6, %1 : tensor<4x4xf32>
  return %7 : tensor<4x4xf32>
}
// before: convert-elementwise-to-linalg
