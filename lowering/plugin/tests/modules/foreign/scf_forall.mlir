// scf.forall with an accumulator, and tensors in loops.
func.func @kernel(%a: tensor<4x4xf32>, %b: tensor<4x4xf32>, %o: tensor<4x4xf32>) -> tensor<4x4xf32> {
  %r = scf.forall (%i) in (4) shared_outs(%out = %o) -> (tensor<4x4xf32>) {
    %x = tensor.extract_slice %a[%i, 0][1, 4][1, 1] : tensor<4x4xf32> to tensor<1x4xf32>
    %y = tensor.extract_slice %out[%i, 0][1, 4][1, 1] : tensor<4x4xf32> to tensor<1x4xf32>
    %m = linalg.matmul ins(%x, %b : tensor<1x4xf32>, tensor<4x4xf32>) outs(%y : tensor<1x4xf32>) -> tensor<1x4xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %m into %out[%i, 0][1, 4][1, 1] : tensor<1x4xf32> into tensor<4x4xf32>
    }
  }
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %q = scf.for %i = %c0 to %c4 step %c1 iter_args(%t = %r) -> tensor<4x4xf32> {
    %v = tensor.extract %t[%i, %i] : tensor<4x4xf32>
    %w = arith.mulf %v, %v : f32
    %n = tensor.insert %w into %t[%i, %i] : tensor<4x4xf32>
    scf.yield %n : tensor<4x4xf32>
  }
  return %q : tensor<4x4xf32>
}
// after: one-shot-bufferize{bufferize-function-boundaries},scf-forall-to-for
