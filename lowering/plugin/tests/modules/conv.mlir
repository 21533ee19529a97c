// A convolution, a depthwise one, a sum pool and a reduction by products, on memrefs.
func.func @kernel(%x: memref<1x5x5x2xf32>, %w: memref<3x3x2x2xf32>, %y: memref<2xf32>) {
  %zero = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  %c = memref.alloc() : memref<1x3x3x2xf32>
  linalg.fill ins(%zero : f32) outs(%c : memref<1x3x3x2xf32>)
  linalg.conv_2d_nhwc_hwcf {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>}
    ins(%x, %w : memref<1x5x5x2xf32>, memref<3x3x2x2xf32>) outs(%c : memref<1x3x3x2xf32>)
  %p = memref.alloc() : memref<1x2x2x2xf32>
  linalg.fill ins(%zero : f32) outs(%p : memref<1x2x2x2xf32>)
  %window = memref.alloc() : memref<2x2xf32>
  linalg.pooling_nhwc_sum {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>}
    ins(%c, %window : memref<1x3x3x2xf32>, memref<2x2xf32>) outs(%p : memref<1x2x2x2xf32>)
  linalg.fill ins(%one : f32) outs(%y : memref<2xf32>)
  linalg.reduce { arith.mulf } ins(%p : memref<1x2x2x2xf32>) outs(%y : memref<2xf32>) dimensions = [0, 1, 2]
  return
}
