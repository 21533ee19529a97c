// Views with strides that are only known at run time, changed in place by a callee.
func.func private @scale(%a: memref<?x?xf32, strided<[?, ?], offset: ?>>, %s: memref<?xf32, strided<[2]>>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %n = memref.dim %a, %c0 : memref<?x?xf32, strided<[?, ?], offset: ?>>
  %m = memref.dim %a, %c1 : memref<?x?xf32, strided<[?, ?], offset: ?>>
  scf.parallel (%i, %j) = (%c0, %c0) to (%n, %m) step (%c1, %c1) {
    %x = memref.load %a[%i, %j] : memref<?x?xf32, strided<[?, ?], offset: ?>>
    %f = memref.load %s[%j] : memref<?xf32, strided<[2]>>
    %y = arith.mulf %x, %f fastmath<nnan,contract> : f32
    %z = arith.remf %y, %f : f32
    %w = arith.addf %y, %z fastmath<contract> : f32
    memref.store %w, %a[%i, %j] : memref<?x?xf32, strided<[?, ?], offset: ?>>
    scf.reduce
  }
  return
}
func.func @kernel(%s: memref<6xf32>, %a: memref<4x6xf32>) {
  %t = memref.transpose %a (i, j) -> (j, i) : memref<4x6xf32> to memref<6x4xf32, strided<[1, 6]>>
  %v = memref.subview %t[1, 0] [4, 3] [1, 1] : memref<6x4xf32, strided<[1, 6]>> to memref<4x3xf32, strided<[1, 6], offset: 1>>
  %d = memref.cast %v : memref<4x3xf32, strided<[1, 6], offset: 1>> to memref<?x?xf32, strided<[?, ?], offset: ?>>
  %e = memref.subview %s[0] [3] [2] : memref<6xf32> to memref<3xf32, strided<[2]>>
  %ed = memref.cast %e : memref<3xf32, strided<[2]>> to memref<?xf32, strided<[2]>>
  call @scale(%d, %ed) : (memref<?x?xf32, strided<[?, ?], offset: ?>>, memref<?xf32, strided<[2]>>) -> ()
  return
}
