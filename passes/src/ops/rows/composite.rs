//! PAM terms with a derivative of their own, expanded after differentiation.

use crate::arith::{Arith, BiasCorrection, Constants, Recipe};
use crate::build::Cx;
use crate::ir::NodeId;
use crate::ops::shape::float;
use crate::ops::{AttrSpec, Grad, Kind, LowerFn, Op, Site, VjpFn, flag, vjp};

/// Build with constants applied as the composite's `shifts` attribute says.
fn in_recipe(cx: &mut Cx<'_>, site: Site<'_>, f: impl FnOnce(&mut Cx<'_>) -> NodeId) -> NodeId {
    let constants = if site.attrs.flag("shifts") { Constants::PowersOfTwo } else { Constants::Mul };
    let outer = cx.arith;
    cx.arith = Arith::Pam(Recipe { constants, bias_correction: BiasCorrection::Response });
    let out = f(cx);
    cx.arith = outer;
    out
}

fn exp(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    in_recipe(cx, site, |cx| {
        let z = cx.times_log2e(site.inputs[0]);
        cx.exp2(z)
    })
}

fn log(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    in_recipe(cx, site, |cx| {
        let l = cx.log2(site.inputs[0]);
        cx.over_log2e(l)
    })
}

const SHIFTS: &[AttrSpec] = &[flag("shifts", true)];

const fn composite(name: &'static str, lower: LowerFn, grad: VjpFn, doc: &'static str) -> Op {
    Op {
        name,
        args: &["x"],
        attrs: SHIFTS,
        doc,
        kind: Kind::Composite,
        shape: float,
        lower: Some(lower),
        grad: Grad::Rule(grad),
        cost: 16,
        ..Op::BLANK
    }
}

/// Rows.
pub static ROWS: &[Op] = &[
    composite(
        "pam.exp",
        exp,
        vjp::exp,
        "paexp: pam.exp2(x · log₂e); `shifts` applies the constant as signed powers of two, else by ⊙.",
    ),
    Op {
        name: "detach",
        args: &["x"],
        doc: "x, as a constant to derivatives of what is computed from it.",
        kind: Kind::Composite,
        shape: float,
        lower: Some(|_, site| site.inputs[0]),
        grad: Grad::Zero,
        cost: 0,
        ..Op::BLANK
    },
    Op {
        name: "gradient",
        args: &["y", "x"],
        doc: "Derivative of the f32 scalar y with respect to the graph input x, by the rules that \
              `--grad` chooses; resolved after lowering.",
        kind: Kind::Composite,
        shape: |types, _| match types[0].len() {
            1 => Ok(types[1].clone()),
            _ => Err(format!("y is {}, not a scalar", types[0])),
        },
        // Expanding is for what differentiation leaves, which resolves these.
        lower: Some(|cx, _| cx.fail("nothing has resolved this gradient")),
        grad: Grad::Missing,
        cost: 16,
        ..Op::BLANK
    },
    composite(
        "pam.log",
        log,
        vjp::log,
        "palog: pam.log2(x) ÷ log₂e; `shifts` applies the constant as signed powers of two, else by ⊘.",
    ),
];
