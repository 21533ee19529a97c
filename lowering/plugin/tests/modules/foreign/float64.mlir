// Double precision inside, as Python numbers make it.
func.func @kernel(%a: tensor<8xf32>) -> tensor<8xf32> {
  %c = arith.constant dense<1.5> : tensor<8xf64>
  %0 = arith.extf %a : tensor<8xf32> to tensor<8xf64>
  %1 = arith.mulf %0, %c : tensor<8xf64>
  %2 = math.exp %1 : tensor<8xf64>
  %3 = arith.truncf %2 : tensor<8xf64> to tensor<8xf32>
  return %3 : tensor<8xf32>
}
// before: convert-elementwise-to-linalg
