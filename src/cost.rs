//! What a model costs: operations by class, and energy and area by published figures.
//!
//! Elementwise primitives are counted in the code that is emitted for them, so the numbers follow the
//! code generator; contractions, reductions and moves by their shapes.

use std::collections::BTreeMap;

use pamc_lowering::emit::{Builder, Elem, VecTy, scalar};
use pamc_passes::ir::{Attrs, DType, Graph, Node};
use pamc_passes::ops::Prim;
use serde::Serialize;

/// Numbers of operations on single elements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Integer additions and subtractions, 32 bits.
    pub integer_add: u64,
    /// Float additions and subtractions.
    pub float_add: u64,
    /// Comparisons, minima and maxima.
    pub compare: u64,
    /// Logic, shifts, choices, conversions, copies.
    pub moves: u64,
    /// Look-ups in tables; pamc's arithmetic has none.
    pub table: u64,
    /// Multiplies, in contractions and apart.
    pub multiply: u64,
    /// Multiplies of contractions, whose products are summed.
    pub contracted: u64,
    /// Divisions, roots, exponentials, logarithms.
    pub special: u64,
    /// Piecewise affine products, quotients, powers, logarithms and roots, which are made of the above.
    pub pam: u64,
    /// Operations of the first four classes that piecewise affine ones are made of.
    pub inside_pam: u64,
}

impl Counts {
    fn add(&mut self, other: &Counts, times: u64) {
        for (mine, theirs) in [
            (&mut self.integer_add, other.integer_add),
            (&mut self.float_add, other.float_add),
            (&mut self.compare, other.compare),
            (&mut self.moves, other.moves),
            (&mut self.table, other.table),
            (&mut self.multiply, other.multiply),
            (&mut self.contracted, other.contracted),
            (&mut self.special, other.special),
            (&mut self.pam, other.pam),
            (&mut self.inside_pam, other.inside_pam),
        ] {
            *mine += theirs * times;
        }
    }

    /// All operations.
    pub fn total(&self) -> u64 {
        let classes = [self.integer_add, self.float_add, self.compare, self.moves, self.table];
        classes.iter().sum::<u64>() + self.multiply + self.special
    }
}

/// A published figure of one operation: energy in pJ, area in µm².
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figure {
    /// Operation.
    pub name: &'static str,
    /// pJ an operation.
    pub energy: f64,
    /// µm² of a unit that does one a cycle.
    pub area: f64,
}

const fn figure(name: &'static str, energy: f64, area: f64) -> Figure {
    Figure { name, energy, area }
}

/// Horowitz, "Computing's energy problem (and what we can do about it)", ISSCC 2014: 45 nm, 0.9 V.
pub const HOROWITZ: &[Figure] = &[
    figure("int8 add", 0.03, 36.0),
    figure("int32 add", 0.1, 137.0),
    figure("float16 add", 0.4, 1360.0),
    figure("float32 add", 0.9, 4184.0),
    figure("int8 multiply", 0.2, 282.0),
    figure("int32 multiply", 3.1, 3495.0),
    figure("float16 multiply", 1.1, 1640.0),
    figure("float32 multiply", 3.7, 7700.0),
];

const INT_ADD: Figure = HOROWITZ[1];
const FLOAT_ADD: Figure = HOROWITZ[3];
const INT8_MULTIPLY: Figure = HOROWITZ[4];
const HALF_MULTIPLY: Figure = HOROWITZ[6];
const FLOAT_MULTIPLY: Figure = HOROWITZ[7];

/// How much cheaper than a float32 multiply a unit for piecewise affine products is, by the estimate
/// of Kosson & Jaggi 2023, appendix B: least and most.
pub const PAM_SAVING: [f64; 2] = [5.0, 30.0];

/// What the figures do not say and is taken to be so.
pub const ASSUMPTIONS: &[&str] = &[
    "one comparison, and one operation of logic, shift, choice or conversion, counts as an int32 add: an upper bound",
    "a float division, root, exponential or logarithm counts as one multiply: a lower bound, in favour of the baselines",
    "bf16 multiplies at the figures of float16 and sums in float32; int8 multiplies sum in int32 inside contractions",
    "a PAM product-and-add in a contraction is an integer add, a clamp, a sign and a float32 add, as in the general kernel",
    "PAM units: each PAM operation costs 1/5 to 1/30 of a float32 multiply, and its sum a float32 add",
    "area is that of a circuit with one unit for every operation; memory and control are left out of both",
];

/// Energy and area of a set of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Price {
    /// µJ.
    pub energy: f64,
    /// mm².
    pub area: f64,
}

fn price(items: &[(u64, Figure, f64)]) -> Price {
    let sum = |f: fn(&Figure) -> f64| -> f64 {
        items.iter().map(|(n, figure, share)| *n as f64 * f(figure) * share).sum()
    };
    Price { energy: sum(|f| f.energy) * 1e-6, area: sum(|f| f.area) * 1e-6 }
}

/// The arithmetics that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// Multiplies in float32.
    Float32,
    /// Multiplies in bf16.
    Bf16,
    /// Multiplies in int8.
    Int8,
    /// PAM of ordinary adders.
    Pam,
    /// PAM with units of its own, at the least saving of the estimate.
    PamUnitLeast,
    /// And at the most.
    PamUnitMost,
}

impl Machine {
    /// All, in the order of the table.
    pub const ALL: [Machine; 6] = [
        Machine::Float32,
        Machine::Bf16,
        Machine::Int8,
        Machine::Pam,
        Machine::PamUnitLeast,
        Machine::PamUnitMost,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Machine::Float32 => "float32 multiply",
            Machine::Bf16 => "bf16 multiply",
            Machine::Int8 => "int8 multiply",
            Machine::Pam => "PAM on adders",
            Machine::PamUnitLeast => "PAM unit, 5× cheaper",
            Machine::PamUnitMost => "PAM unit, 30× cheaper",
        }
    }

    /// Whether it runs the multiplication-free program.
    pub fn is_pam(self) -> bool {
        matches!(self, Machine::Pam | Machine::PamUnitLeast | Machine::PamUnitMost)
    }

    /// Energy and area of a program's operations.
    pub fn price(self, c: &Counts) -> Price {
        let simple = c.integer_add + c.compare + c.moves + c.table;
        let (multiply, sum) = match self {
            Machine::Bf16 => (HALF_MULTIPLY, FLOAT_ADD),
            Machine::Int8 => (INT8_MULTIPLY, INT_ADD),
            _ => (FLOAT_MULTIPLY, FLOAT_ADD),
        };
        let saving = match self {
            Machine::PamUnitLeast => Some(PAM_SAVING[0]),
            Machine::PamUnitMost => Some(PAM_SAVING[1]),
            _ => None,
        };
        let (units, simple) = match saving {
            Some(saving) => {
                ((c.pam, FLOAT_MULTIPLY, 1.0 / saving), simple.saturating_sub(c.inside_pam))
            }
            None => ((0, FLOAT_MULTIPLY, 0.0), simple),
        };
        let summed = if multiply.name == INT8_MULTIPLY.name { c.contracted } else { 0 };
        price(&[
            (simple, INT_ADD, 1.0),
            (c.float_add - summed, FLOAT_ADD, 1.0),
            (summed, sum, 1.0),
            (c.multiply, multiply, 1.0),
            (c.special, FLOAT_MULTIPLY, 1.0),
            units,
        ])
    }
}

/// Operations of one layer.
#[derive(Clone, Debug, Serialize)]
pub struct Layer {
    /// Path of the layer, or part of the training program.
    pub name: String,
    /// Its operations.
    pub counts: Counts,
}

/// Operations by layer, in the order of the program.
pub fn layers(graph: &Graph) -> Vec<Layer> {
    let mut order: Vec<String> = Vec::new();
    let mut found: BTreeMap<String, Counts> = BTreeMap::new();
    for (_, node) in graph.nodes() {
        let name = match node.origin.scope.is_empty() {
            true => node.origin.region.to_string(),
            false => node.origin.scope.to_string(),
        };
        let counts = node_counts(graph, node);
        if counts == Counts::default() {
            continue;
        }
        if !found.contains_key(&name) {
            order.push(name.clone());
        }
        found.entry(name).or_default().add(&counts, 1);
    }
    order
        .into_iter()
        .map(|name| {
            let counts = found[&name];
            Layer { name, counts }
        })
        .collect()
}

/// The sum over layers.
pub fn total(layers: &[Layer]) -> Counts {
    let mut sum = Counts::default();
    layers.iter().for_each(|l| sum.add(&l.counts, 1));
    sum
}

fn elem(dtype: DType) -> Elem {
    match dtype {
        DType::F32 => Elem::F32,
        DType::I64 => Elem::I64,
        DType::Bool => Elem::I1,
        _ => Elem::I32,
    }
}

/// Operations emitted for one element of an elementwise primitive.
fn element(prim: Prim, attrs: &Attrs, operands: &[DType], to: DType) -> Counts {
    let mut b = Builder::new();
    let values: Vec<_> =
        operands.iter().map(|d| b.fresh(VecTy { elem: elem(*d), lanes: None })).collect();
    let emitted = scalar::emit(&mut b, prim, attrs, &values, elem(to));
    let mut counts = Counts::default();
    if emitted.is_none() {
        return counts;
    }
    for line in b.finish().lines() {
        let Some((_, operation)) = line.split_once(" = ") else { continue };
        match operation.split(' ').next().unwrap_or_default() {
            "arith.addi" | "arith.subi" => counts.integer_add += 1,
            "arith.addf" | "arith.subf" => counts.float_add += 1,
            "arith.mulf" | "arith.muli" | "math.fma" => counts.multiply += 1,
            "arith.divf" | "math.sqrt" | "math.exp" | "math.exp2" | "math.log" | "math.log2" => {
                counts.special += 1;
            }
            "arith.constant" | "arith.bitcast" => {}
            o if o.contains("cmp") || o.contains("min") || o.contains("max") => counts.compare += 1,
            _ => counts.moves += 1,
        }
    }
    if is_pam(prim) {
        counts.pam = 1;
        counts.inside_pam = counts.integer_add + counts.compare + counts.moves;
    }
    counts
}

fn is_pam(prim: Prim) -> bool {
    use Prim::*;
    matches!(prim, PamMul | PamDiv | PamExp2 | PamLog2 | PamSqrt)
}

/// Product and sum of one step of a contraction.
fn contraction(prim: Prim) -> Counts {
    let step = Counts {
        integer_add: 1,
        float_add: 1,
        compare: 1,
        moves: 1,
        pam: 1,
        inside_pam: 3,
        ..Counts::default()
    };
    let none = Attrs::none();
    let floats = [DType::F32, DType::F32];
    match prim {
        Prim::FMatmul => Counts { multiply: 1, contracted: 1, float_add: 1, ..Counts::default() },
        Prim::PamMatmul => step,
        _ => {
            let mut both = element(Prim::MulSlope, &none, &floats, DType::F32);
            both.add(&step, 1);
            both
        }
    }
}

/// Two words of Threefry: twenty rounds of add, rotate and xor, and five additions of the key.
const RANDOM: Counts = Counts { integer_add: 15, moves: 40, ..COUNTS_ZERO };

const COUNTS_ZERO: Counts = Counts {
    integer_add: 0,
    float_add: 0,
    compare: 0,
    moves: 0,
    table: 0,
    multiply: 0,
    contracted: 0,
    special: 0,
    pam: 0,
    inside_pam: 0,
};

fn node_counts(graph: &Graph, node: &Node) -> Counts {
    use Prim::*;
    let Some(prim) = node.op.prim() else { return Counts::default() };
    let operand = |n: usize| node.inputs.get(n).map(|i| graph.ty(*i));
    let results = node.ty.len() as u64;
    let read = operand(0).map_or(0, |t| t.len()) as u64;
    let sum = match node.ty.dtype {
        DType::F32 => Counts { float_add: 1, ..Counts::default() },
        _ => Counts { integer_add: 1, ..Counts::default() },
    };
    let moved = Counts { moves: 1, ..Counts::default() };
    let (one, times) = match prim {
        Input | Const | Reshape | Broadcast => return Counts::default(),
        Iota | Transpose | Concat | Slice | Pad | Unfold | Gather => (moved, results),
        RandomBits => (RANDOM, results),
        PamMatmul | FMatmul | PamMatmulDa | PamMatmulDb => {
            (contraction(prim), steps(graph, node, prim))
        }
        ReduceSum | CumSum | Fold => (sum, read),
        ScatterAdd => (sum, operand(2).map_or(results, |t| t.len() as u64)),
        ReduceMax | ReduceMin | ArgMax | ArgMin => {
            (Counts { compare: 1, ..Counts::default() }, read)
        }
        _ => {
            let dtypes: Vec<DType> = node.inputs.iter().map(|i| graph.ty(*i).dtype).collect();
            (element(prim, &node.attrs, &dtypes, node.ty.dtype), results)
        }
    };
    let mut counts = Counts::default();
    counts.add(&one, times);
    counts
}

/// Products of a contraction: batch · m · k · n.
fn steps(graph: &Graph, node: &Node, prim: Prim) -> u64 {
    let gradient = matches!(prim, Prim::PamMatmulDa | Prim::PamMatmulDb);
    let first = usize::from(gradient);
    let (a, b) = (graph.ty(node.inputs[first]), graph.ty(node.inputs[first + 1]));
    // The product has the shape of the gradient that comes in.
    let product = if gradient { graph.ty(node.inputs[0]) } else { &node.ty };
    let depth = if node.attrs.flag("ta") { a.shape[a.rank() - 2] } else { a.shape[a.rank() - 1] };
    debug_assert!(b.rank() >= 2);
    (product.len() * depth) as u64
}
