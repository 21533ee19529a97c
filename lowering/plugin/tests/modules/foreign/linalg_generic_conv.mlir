// A strided convolution as a generic, with a bias in the accumulator, and a product of three.
#x = affine_map<(n, f, h, w, c, kh, kw) -> (n, c, h * 2 + kh, w * 2 + kw)>
#k = affine_map<(n, f, h, w, c, kh, kw) -> (f, c, kh, kw)>
#s = affine_map<(n, f, h, w, c, kh, kw) -> (f)>
#y = affine_map<(n, f, h, w, c, kh, kw) -> (n, f, h, w)>
func.func @kernel(%x: tensor<1x2x5x5xf32>, %k: tensor<3x2x3x3xf32>, %s: tensor<3xf32>, %b: tensor<1x3x2x2xf32>) -> tensor<1x3x2x2xf32> {
  %r = linalg.generic {indexing_maps = [#x, #k, #s, #y], iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction", "reduction", "reduction"]}
    ins(%x, %k, %s : tensor<1x2x5x5xf32>, tensor<3x2x3x3xf32>, tensor<3xf32>) outs(%b : tensor<1x3x2x2xf32>) {
  ^bb0(%in: f32, %w: f32, %g: f32, %acc: f32):
    %p = arith.mulf %in, %w : f32
    %q = arith.mulf %p, %g : f32
    %t = arith.addf %acc, %q : f32
    linalg.yield %t : f32
  } -> tensor<1x3x2x2xf32>
  return %r : tensor<1x3x2x2xf32>
}
