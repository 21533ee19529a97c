// bf16 buffers converted at the border, products on them.
func.func @kernel(%a: memref<8xf32>, %b: memref<8xf32>, %out: memref<8xf32>) {
  %h = memref.alloc() : memref<8xbf16>
  affine.for %i = 0 to 8 {
    %x = affine.load %a[%i] : memref<8xf32>
    %t = arith.truncf %x : f32 to bf16
    affine.store %t, %h[%i] : memref<8xbf16>
  }
  affine.for %i = 0 to 8 {
    %x = affine.load %h[%i] : memref<8xbf16>
    %y = affine.load %b[%i] : memref<8xf32>
    %t = arith.truncf %y : f32 to bf16
    %p = arith.mulf %x, %t : bf16
    %r = math.rsqrt %p : bf16
    %g = math.tanh %r : bf16
    %q = math.fma %p, %t, %g : bf16
    %w = arith.extf %q : bf16 to f32
    affine.store %w, %out[%i] : memref<8xf32>
  }
  return
}
