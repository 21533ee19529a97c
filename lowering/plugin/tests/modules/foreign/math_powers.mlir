// Powers by constants, of floats and of integers.
func.func @kernel(%a: memref<16xf32>, %out: memref<8x16xf32>) {
  %half = arith.constant 0.5 : f32
  %three = arith.constant 3.0 : f32
  %minus = arith.constant -2.0 : f32
  %odd = arith.constant 1.7 : f32
  %i3 = arith.constant 3 : i32
  %im2 = arith.constant -2 : i32
  affine.for %i = 0 to 16 {
    %x = affine.load %a[%i] : memref<16xf32>
    %0 = math.powf %x, %half : f32
    %1 = math.powf %x, %three : f32
    %2 = math.powf %x, %minus : f32
    %3 = math.powf %x, %odd : f32
    %4 = math.fpowi %x, %i3 : f32, i32
    %5 = math.fpowi %x, %im2 : f32, i32
    %6 = arith.mulf %0, %4 : f32
    %7 = arith.divf %1, %5 : f32
    affine.store %0, %out[0, %i] : memref<8x16xf32>
    affine.store %1, %out[1, %i] : memref<8x16xf32>
    affine.store %2, %out[2, %i] : memref<8x16xf32>
    affine.store %3, %out[3, %i] : memref<8x16xf32>
    affine.store %4, %out[4, %i] : memref<8x16xf32>
    affine.store %5, %out[5, %i] : memref<8x16xf32>
    affine.store %6, %out[6, %i] : memref<8x16xf32>
    affine.store %7, %out[7, %i] : memref<8x16xf32>
  }
  return
}
