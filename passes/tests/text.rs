//! The text form round-trips, and its errors say where and what.

use pamc_passes::ir::{Dims, Extent, TextError, parse, parse_inputs};

const SAMPLE: &str = r#"; a comment
graph @"odd name"(%x: f32[batch, 4], param %"w/0": f32[4], state %n: i32[]) -> f32[batch, 4], i32[] {
    %y = pam.mul %x, %"w/0" loc("fc/Mul", scope = "fc", op = "mul")
    %c = const {value = f32[4][1.0, -0.0, inf, 0x7fc00000]}
    %z = add %y, %c loc("say \"hi\"", region = loss)
    %one = const {value = i32[]1}
    %m = add %n, %one
    %big = const {value = f32[2]"0000803f00000040"}
    %t = transpose %z {perm = [1, 0]}
    %u = transpose %t {perm = [1, 0]}
    return u = %u, n = %m
}
"#;

fn dims() -> Dims {
    [("batch".to_string(), 3)].into()
}

#[test]
fn round_trip() {
    let graph = parse(SAMPLE, &dims()).unwrap();
    let printed = graph.to_string();
    let again = parse(&printed, &Dims::new()).unwrap();
    assert_eq!(printed, again.to_string());
    for ((_, a), (_, b)) in graph.nodes().zip(again.nodes()) {
        assert_eq!((a.op, &a.inputs, &a.attrs, &a.ty), (b.op, &b.inputs, &b.attrs, &b.ty));
        assert_eq!(a.origin, b.origin);
    }
    assert_eq!(graph.outputs(), again.outputs());
}

#[test]
fn symbols_are_seen_before_they_are_bound() {
    let inputs = parse_inputs(SAMPLE).unwrap();
    assert_eq!(inputs[0].extents, [Extent::Symbol("batch".into()), Extent::Size(4)]);
    let two = "graph @f(%x: f32[n, m], %y: f32[n]) -> f32[n] { return y = %y }";
    assert_eq!(
        parse(two, &Dims::new()).unwrap_err(),
        TextError::Unbound(vec!["m".into(), "n".into()])
    );
}

#[test]
fn errors_have_a_place() {
    let message = |body: &str| {
        let text = format!("graph @f(%x: f32[2], %i: i64[2]) -> f32[2] {{\n    {body}\n}}");
        parse(&text, &Dims::new()).unwrap_err().to_string()
    };
    insta::assert_snapshot!(
        [
            "%y = frobnicate %x\n return %y",
            "%y = add %x, %q\n return %y",
            "%y = add %x\n return %y",
            "%y = add %x, %i\n return %y",
            "%y = reshape %x {shape = [3]}\n return %y",
            "%y = reshape %x\n return %y",
            "%y = reshape %x {shpe = [3]}\n return %y",
            "%y = add %x, %x\n %y = add %x, %x\n return %y",
            "%y = const {value = f32[2][1.0]}\n return %y",
            "%y = const {value = f32[2][1.0, a]}\n return %y",
            "return %i",
            "return \"x",
            "%y = add %x, %x",
            "return %x } extra {",
        ]
        .map(message)
        .join("\n")
    );
}
