//! One-hot encoding, dropout, tiling.

use crate::build::Cx;
use crate::ir::{Attrs, DType, NodeId, TensorType};
use crate::ops::shape::{Inferred, Types, normalize_axis, sizes};
use crate::ops::{AttrType, Bound, Op, Site, expect_dtype, float, int, required};

fn one_hot_shape(types: Types, attrs: &Attrs) -> Inferred {
    expect_dtype("the index", types[0], &[DType::I32, DType::I64])?;
    let depth = usize::try_from(attrs.int("depth")).map_err(|_| "'depth' is negative")?;
    let axis = normalize_axis(attrs.int("axis"), types[0].rank() + 1)?;
    let mut shape = types[0].shape.clone();
    shape.insert(axis, depth);
    Ok(TensorType::f32(shape))
}

fn one_hot(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let ids = site.inputs[0];
    let (dtype, shape) = (cx.ty(ids).dtype, cx.shape(ids));
    let axis = normalize_axis(site.attrs.int("axis"), shape.len() + 1).unwrap_or(0);
    let depth = site.ty.shape[axis];
    let (zero, size) = (cx.scalar_of(dtype, 0), cx.scalar_of(dtype, depth as i32));
    let negative = cx.lt(ids, zero);
    let wrapped = cx.add(ids, size);
    let ids = cx.select(negative, wrapped, ids);
    let mut kept = shape;
    kept.insert(axis, 1);
    let ids = cx.reshape(ids, &kept);
    let mut ramp = vec![1; kept.len() - axis];
    ramp[0] = depth;
    let classes = cx.iota(dtype, &ramp, 0);
    let hit = cx.eq(classes, ids);
    let (on, off) = (cx.scalar(site.attrs.float("on")), cx.scalar(site.attrs.float("off")));
    cx.select(hit, on, off)
}

fn dropout_shape(types: Types, attrs: &Attrs) -> Inferred {
    expect_dtype("the operand", types[0], &[DType::F32])?;
    if *types[1] != TensorType::new(DType::I32, [2]) {
        return Err(format!("the key is {}, not i32[2]", types[1]));
    }
    let p = attrs.float("p");
    if (0.0..1.0).contains(&p) {
        Ok(types[0].clone())
    } else {
        Err(format!("p = {p} is not in [0, 1)"))
    }
}

fn dropout(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let (x, p) = (site.inputs[0], site.attrs.float("p"));
    if p == 0.0 {
        return x;
    }
    let attrs =
        Attrs::none().with("shape", &site.ty.shape[..]).with("stream", site.attrs.int("stream"));
    let bits = cx.op_with("random_bits", &[site.inputs[1]], attrs);
    // Flipping the top bit orders unsigned numbers as signed ones.
    let top = cx.scalar(i32::MIN);
    let ordered = cx.op("xor", &[bits, top]);
    let threshold = (f64::from(p) * 4_294_967_296.0) as u32 ^ 0x8000_0000;
    let threshold = cx.scalar(threshold as i32);
    let kept = cx.ge(ordered, threshold);
    let scaled = cx.mul_const(x, 1.0 / (1.0 - p));
    let zero = cx.scalar(0f32);
    cx.select(kept, scaled, zero)
}

fn tile_shape(types: Types, attrs: &Attrs) -> Inferred {
    let repeats = sizes(attrs, "repeats")?;
    if repeats.len() != types[0].rank() {
        return Err(format!("'repeats' {repeats:?} does not fit {}", types[0]));
    }
    let shape: Vec<_> =
        types[0].shape.iter().zip(&repeats).map(|(d, r)| d.saturating_mul(*r)).collect();
    Ok(TensorType::new(types[0].dtype, shape))
}

fn tile(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let (shape, repeats) = (cx.shape(site.inputs[0]), site.attrs.sizes("repeats"));
    let apart: Vec<_> = shape.iter().flat_map(|&d| [1, d]).collect();
    let wide: Vec<_> = shape.iter().zip(&repeats).flat_map(|(&d, &r)| [r, d]).collect();
    let x = cx.reshape(site.inputs[0], &apart);
    let x = cx.expand(x, &wide);
    cx.reshape(x, &site.ty.shape)
}

const EXACT: Option<Bound> = Some(Bound::new(0.0, 0.0, (-2.0, 2.0)));

/// Rows.
pub static ROWS: &[Op] = &[
    Op {
        name: "one_hot",
        onnx: &["OneHot"],
        args: &["ids"],
        attrs: &[
            required("depth", AttrType::Int),
            int("axis", -1),
            float("on", 1.0),
            float("off", 0.0),
        ],
        doc: "`on` at each id along a new `axis` of extent `depth`, `off` elsewhere; a negative id counts \
              from the end, one out of range gives `off` only.",
        shape: one_hot_shape,
        lower: Some(one_hot),
        bound: EXACT,
        cost: 3,
        ..Op::BLANK
    },
    Op {
        name: "dropout",
        onnx: &["Dropout"],
        args: &["x", "rng"],
        attrs: &[float("p", 0.5), int("stream", 0)],
        doc: "Zero with probability `p`, else `x ⊙ 1/(1 − p)`; an element is kept if its random bits under \
              the key `rng` (i32[2]) for `stream` are, unsigned, at least p · 2³².",
        shape: dropout_shape,
        lower: Some(dropout),
        bound: Some(Bound::new(1.0 / 9.0, 0.0, (-2.0, 2.0))),
        cost: 80,
        ..Op::BLANK
    },
    Op {
        name: "tile",
        onnx: &["Tile"],
        args: &["x"],
        attrs: &[required("repeats", AttrType::Ints)],
        doc: "x repeated `repeats[i]` times along axis i.",
        shape: tile_shape,
        lower: Some(tile),
        bound: EXACT,
        ..Op::BLANK
    },
];
