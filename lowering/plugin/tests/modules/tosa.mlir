// TOSA, which a front end's pipeline takes to linalg first.
func.func @kernel(%x: tensor<1x4x4xf32>, %w: tensor<1x4x4xf32>) -> tensor<1x4x4xf32> {
  %zp = "tosa.const"() {values = dense<0.0> : tensor<1xf32>} : () -> tensor<1xf32>
  %shift = "tosa.const"() {values = dense<0> : tensor<1xi8>} : () -> tensor<1xi8>
  %three = "tosa.const"() {values = dense<3.0> : tensor<1x1x1xf32>} : () -> tensor<1x1x1xf32>
  %m = tosa.matmul %x, %w, %zp, %zp
    : (tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<1xf32>, tensor<1xf32>) -> tensor<1x4x4xf32>
  %s = tosa.sigmoid %m : (tensor<1x4x4xf32>) -> tensor<1x4x4xf32>
  %p = tosa.mul %s, %m, %shift : (tensor<1x4x4xf32>, tensor<1x4x4xf32>, tensor<1xi8>) -> tensor<1x4x4xf32>
  %t = tosa.tanh %p : (tensor<1x4x4xf32>) -> tensor<1x4x4xf32>
  %r = tosa.reciprocal %t : (tensor<1x4x4xf32>) -> tensor<1x4x4xf32>
  %q = tosa.pow %r, %three : (tensor<1x4x4xf32>, tensor<1x1x1xf32>) -> tensor<1x4x4xf32>
  return %q : tensor<1x4x4xf32>
}
