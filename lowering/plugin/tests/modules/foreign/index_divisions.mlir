// Index arithmetic with products, divisions and remainders that stay; im2col as a generic that extracts by computed places.
#m = affine_map<(d0, d1) -> (d0, d1)>
func.func @kernel(%img: tensor<5x5xf32>, %w: tensor<9xf32>) -> tensor<9x9xf32> {
  %e = tensor.empty() : tensor<9x9xf32>
  %c3 = arith.constant 3 : index
  %r = linalg.generic {indexing_maps = [#m], iterator_types = ["parallel", "parallel"]} outs(%e : tensor<9x9xf32>) {
  ^bb0(%o: f32):
    %i = linalg.index 0 : index
    %j = linalg.index 1 : index
    %oy = arith.divui %i, %c3 : index
    %ox = arith.remui %i, %c3 : index
    %ky = arith.floordivsi %j, %c3 : index
    %kyk = arith.muli %ky, %c3 : index
    %kx = arith.subi %j, %kyk : index
    %y = arith.addi %oy, %ky : index
    %x = arith.addi %ox, %kx : index
    %v = tensor.extract %img[%y, %x] : tensor<5x5xf32>
    %k = tensor.extract %w[%j] : tensor<9xf32>
    %p = arith.mulf %v, %k : f32
    linalg.yield %p : f32
  } -> tensor<9x9xf32>
  return %r : tensor<9x9xf32>
}
