//! What is refused and what must not be emitted.

use super::{host, slope_spec, spec};
use pamc_lowering::codegen::{Options, Target, compile};
use pamc_lowering::kernels::{Arith, KernelError, KernelTarget, Kernels, MatmulSpec, scratch_len};

#[test]
fn wrong_specifications_are_refused() {
    let target = host(false);
    let good = spec(&[2], 3, 4, 5);
    let mut kernels = Kernels::new(target);
    let mut refuse = |spec: &MatmulSpec| kernels.matmul("f", spec).unwrap_err();
    let mut short = good.clone();
    short.b.len -= 1;
    let error = refuse(&short);
    assert_eq!(error, KernelError::Bounds { operand: "b", first: 0, last: 39, len: 39 });
    let mut negative = good.clone();
    negative.a.strides[2] = -1;
    assert!(matches!(refuse(&negative), KernelError::Bounds { operand: "a", first: -3, .. }));
    let mut rank = good.clone();
    rank.out.strides.pop();
    assert_eq!(refuse(&rank), KernelError::Rank { operand: "out", expected: 3, found: 2 });
    let float = MatmulSpec { arith: Arith::Float, ..slope_spec(&[], 2, 2, 2) };
    assert_eq!(refuse(&float), KernelError::FloatSlope);
    let odd = KernelTarget { lanes: 5, ..target };
    assert_eq!(scratch_len(&good, &odd), Err(KernelError::Lanes(5)));
}

#[test]
fn no_float_multiplication_is_emitted() {
    let mut kernels = Kernels::new(host(false));
    kernels.matmul("product", &spec(&[], 64, 64, 64)).unwrap();
    kernels.matmul("slope", &slope_spec(&[], 64, 64, 64)).unwrap();
    kernels.matmul("tiny", &slope_spec(&[], 2, 2, 2)).unwrap();
    let options = Options { keep_assembly: true, ..Options::default() };
    let object = compile(&kernels.finish(), &Target::host(), &options).unwrap();
    let assembly = object.assembly.unwrap();
    let operations = assembly.lines().filter_map(|l| l.split_whitespace().next());
    let float = |op: &str| {
        let op = op.strip_prefix('v').unwrap_or(op);
        ["mul", "div", "sqrt", "fma", "fms", "fnm", "fml", "rcp", "rsqrt"]
            .iter()
            .any(|p| op.starts_with(p) || op.strip_prefix('f').is_some_and(|o| o.starts_with(p)))
            && (op.ends_with("ps") || op.ends_with("ss") || op.starts_with('f'))
    };
    let found: Vec<_> = operations.filter(|op| float(op)).collect();
    assert!(found.is_empty(), "{found:?}");
    assert!(assembly.contains("add"), "{assembly}");
}
