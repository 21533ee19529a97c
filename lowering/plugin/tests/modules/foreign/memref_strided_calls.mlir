// Subviews with strides, calls between functions, a recursion over cf.
func.func private @axpy(%a: f32, %x: memref<4xf32, strided<[4], offset: ?>>, %y: memref<4xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  cf.br ^head(%c0 : index)
^head(%i: index):
  %more = arith.cmpi slt, %i, %c4 : index
  cf.cond_br %more, ^body, ^end
^body:
  %u = memref.load %x[%i] : memref<4xf32, strided<[4], offset: ?>>
  %v = memref.load %y[%i] : memref<4xf32>
  %p = arith.mulf %a, %u fastmath<contract> : f32
  %s = arith.addf %p, %v fastmath<contract> : f32
  memref.store %s, %y[%i] : memref<4xf32>
  %n = arith.addi %i, %c1 : index
  cf.br ^head(%n : index)
^end:
  return
}
func.func @kernel(%m: memref<4x4xf32>, %y: memref<4xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %a = arith.constant 1.3 : f32
  scf.for %j = %c0 to %c4 step %c1 {
    %col = memref.subview %m[0, %j][4, 1][1, 1] : memref<4x4xf32> to memref<4xf32, strided<[4], offset: ?>>
    func.call @axpy(%a, %col, %y) : (f32, memref<4xf32, strided<[4], offset: ?>>, memref<4xf32>) -> ()
  }
  return
}
