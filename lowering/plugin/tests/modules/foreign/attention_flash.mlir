// One row of attention computed online: running maximum and sum in loop-carried scalars and vectors.
func.func @kernel(%q: memref<4x8xf32>, %k: memref<6x8xf32>, %v: memref<6x8xf32>, %out: memref<4x8xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %c6 = arith.constant 6 : index
  %pad = arith.constant 0.0 : f32
  %scale = arith.constant 0.353553385 : f32
  %low = arith.constant -1.0e+30 : f32
  %zeros = arith.constant dense<0.0> : vector<8xf32>
  scf.for %i = %c0 to %c4 step %c1 {
    %qi = vector.load %q[%i, %c0] : memref<4x8xf32>, vector<8xf32>
    %m, %l, %acc = scf.for %j = %c0 to %c6 step %c1 iter_args(%m0 = %low, %l0 = %pad, %a0 = %zeros) -> (f32, f32, vector<8xf32>) {
      %kj = vector.load %k[%j, %c0] : memref<6x8xf32>, vector<8xf32>
      %vj = vector.load %v[%j, %c0] : memref<6x8xf32>, vector<8xf32>
      %p = arith.mulf %qi, %kj : vector<8xf32>
      %d = vector.reduction <add>, %p : vector<8xf32> into f32
      %s = arith.mulf %d, %scale : f32
      %m1 = arith.maximumf %m0, %s : f32
      %dm = arith.subf %m0, %m1 : f32
      %c = math.exp %dm : f32
      %ds = arith.subf %s, %m1 : f32
      %e = math.exp %ds : f32
      %lc = arith.mulf %l0, %c : f32
      %l1 = arith.addf %lc, %e : f32
      %cv = vector.broadcast %c : f32 to vector<8xf32>
      %ev = vector.broadcast %e : f32 to vector<8xf32>
      %ac = arith.mulf %a0, %cv : vector<8xf32>
      %a1 = vector.fma %ev, %vj, %ac : vector<8xf32>
      scf.yield %m1, %l1, %a1 : f32, f32, vector<8xf32>
    }
    %lv = vector.broadcast %l : f32 to vector<8xf32>
    %o = arith.divf %acc, %lv : vector<8xf32>
    vector.store %o, %out[%i, %c0] : memref<4x8xf32>, vector<8xf32>
  }
  return
}
