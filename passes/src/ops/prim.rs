//! The closed set of primitives: what the interpreter evaluates and the code generator emits.

/// A primitive operation. Adding one means a table row, an arm in the interpreter and an arm in
/// the code generator; a test over the table finds a missing one.
#[allow(missing_docs, reason = "each is documented by its table row")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Prim {
    // Leaves.
    Input,
    Const,
    Iota,
    RandomBits,
    // Elementwise, the same in every arithmetic.
    Add,
    Sub,
    Neg,
    Abs,
    Min,
    Max,
    Floor,
    Round,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    And,
    Or,
    Xor,
    Not,
    Shl,
    Shr,
    Select,
    Cast,
    Bitcast,
    // Elementwise PAM.
    PamMul,
    PamDiv,
    PamExp2,
    PamLog2,
    PamSqrt,
    Scale2,
    ShiftSum,
    MulSlope,
    DivSlopeA,
    DivSlopeB,
    Exp2Slope,
    Log2Slope,
    SqrtSlope,
    // Elementwise ordinary arithmetic: never inside a multiplication-free program.
    FMul,
    FDiv,
    FSqrt,
    FExp,
    FLog,
    FExp2,
    FLog2,
    // Contractions.
    PamMatmul,
    PamMatmulDa,
    PamMatmulDb,
    FMatmul,
    // Reductions and scans.
    ReduceSum,
    ReduceMax,
    ReduceMin,
    ArgMax,
    ArgMin,
    CumSum,
    // Layout.
    Reshape,
    Transpose,
    Broadcast,
    Concat,
    Slice,
    Pad,
    Unfold,
    Fold,
    // Indexing.
    Gather,
    ScatterAdd,
}

impl Prim {
    /// True for a primitive that multiplies, divides or takes roots or transcendentals in floats.
    pub fn is_ordinary(self) -> bool {
        use Prim::*;
        matches!(self, FMul | FDiv | FSqrt | FExp | FLog | FExp2 | FLog2 | FMatmul)
    }

    /// True if each result element depends only on the operands' elements at the same (broadcast)
    /// position.
    pub fn is_elementwise(self) -> bool {
        use Prim::*;
        matches!(
            self,
            Add | Sub
                | Neg
                | Abs
                | Min
                | Max
                | Floor
                | Round
                | Eq
                | Ne
                | Lt
                | Le
                | Gt
                | Ge
                | And
                | Or
                | Xor
                | Not
                | Shl
                | Shr
                | Select
                | Cast
                | Bitcast
                | PamMul
                | PamDiv
                | PamExp2
                | PamLog2
                | PamSqrt
                | Scale2
                | ShiftSum
                | MulSlope
                | DivSlopeA
                | DivSlopeB
                | Exp2Slope
                | Log2Slope
                | SqrtSlope
                | FMul
                | FDiv
                | FSqrt
                | FExp
                | FLog
                | FExp2
                | FLog2
        )
    }

    /// True for a contraction.
    pub fn is_contraction(self) -> bool {
        matches!(self, Prim::PamMatmul | Prim::PamMatmulDa | Prim::PamMatmulDb | Prim::FMatmul)
    }
}
