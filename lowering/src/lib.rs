//! MLIR half of pamc.
