// scf.forall over tiles with slices in bf16 and f16, sums in f32.
// after: func.func(convert-elementwise-to-linalg)
func.func @kernel(%a: tensor<4x6xf32>, %b: tensor<6x4xf32>) -> tensor<4x4xf32> {
  %ah = arith.truncf %a : tensor<4x6xf32> to tensor<4x6xbf16>
  %bh = arith.truncf %b : tensor<6x4xf32> to tensor<6x4xbf16>
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x4xf32>
  %0 = scf.forall (%i) in (2) shared_outs(%o = %e) -> tensor<4x4xf32> {
    %off = affine.apply affine_map<(d0) -> (d0 * 2)>(%i)
    %s = tensor.extract_slice %ah[%off, 0] [2, 6] [1, 1] : tensor<4x6xbf16> to tensor<2x6xbf16>
    %d = tensor.extract_slice %o[%off, 0] [2, 4] [1, 1] : tensor<4x4xf32> to tensor<2x4xf32>
    %f = linalg.fill ins(%z : f32) outs(%d : tensor<2x4xf32>) -> tensor<2x4xf32>
    %m = linalg.matmul ins(%s, %bh : tensor<2x6xbf16>, tensor<6x4xbf16>) outs(%f : tensor<2x4xf32>) -> tensor<2x4xf32>
    %h = arith.truncf %m : tensor<2x4xf32> to tensor<2x4xf16>
    %x = math.exp2 %h : tensor<2x4xf16>
    %y = arith.divf %x, %h : tensor<2x4xf16>
    %w = arith.extf %y : tensor<2x4xf16> to tensor<2x4xf32>
    scf.forall.in_parallel {
      tensor.parallel_insert_slice %w into %o[%off, 0] [2, 4] [1, 1] : tensor<2x4xf32> into tensor<4x4xf32>
    }
  }
  return %0 : tensor<4x4xf32>
}
