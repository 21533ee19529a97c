//! The runner under test: it must find what is planted here, at the line where it is.

use pamc_passes::arith::Arith;
use pamc_passes::ir::Tensor;
use pamc_passes::program::Program;

use super::check::{Check, Report};
use super::machine::everywhere;

const SQUARE: &str = "\
; a file
graph @square(%x: f32[3]) -> f32[3] {
    %y = mul %x, %x
    return %y
}
";

fn report(expectations: &str) -> Report {
    Check::new(&format!("{SQUARE}{expectations}")).run()
}

fn passes(expectations: &str) {
    let failures = report(expectations).failures;
    let said: Vec<_> = failures.iter().map(|f| format!("{}: {}", f.line, f.message)).collect();
    assert!(said.is_empty(), "{}", said.join("\n"));
}

fn fails(expectations: &str, line: usize, message: &str) {
    let failures = report(expectations).failures;
    assert_eq!(failures.len(), 1, "one failure for:\n{expectations}");
    assert_eq!(failures[0].line, line, "{}", failures[0].message);
    assert!(failures[0].message.contains(message), "{}", failures[0].message);
}

#[test]
fn right_expectations_pass() {
    passes("; run: @square([1.5, 3.0, nan]) == [2.0, 8.0, nan]\n");
    passes("; run: @square(\n;     [1.5, 3.0, -2.0]) ==\n;     [2.0, 8.0, 4.0]\n");
    passes("; grad exact: %x at [1.25, 1.5, 3.0] == [2.0, 4.0, 8.0]\n");
    passes("; grad approx: %x at [1.25, 1.5, 3.0] == [2.5, 3.0, 6.0]\n");
    passes(
        "; arith: float\n; run: @square([1.5, 3.0, 0.1]) == [2.25, 9.0, 0.01]\n; tolerance: 1e-7\n",
    );
}

#[test]
fn wrong_numbers_fail_at_their_line() {
    let right = "; run: @square([1.5, 3.0, -2.0]) == [2.0, 8.0, 4.0]\n";
    let wrong = "; run: @square([1.5, 3.0, -2.0]) == [2.0, 9.0, 4.0]\n";
    fails(&format!("{right}{wrong}"), 7, "element 1 differs");
    fails("; run: @square([0.0, 0.0, 0.0]) == [0.0, 0.0, -0.0]\n", 6, "element 2 differs");
    fails("; grad exact: %x at [1.25, 1.5, 3.0] == [2.5, 3.0, 6.0]\n", 6, "element 0 differs");
    fails(
        "; tolerance: 1e-3\n; run: @square([1.0, 1.0, 1.0]) == [1.0, 1.0, 1.01]\n",
        7,
        "element 2",
    );
}

#[test]
fn malformed_expectations_fail() {
    fails("", 1, "expects nothing");
    fails("; run: @square([1.0, 2.0, 4.0])\n", 6, "expected '=='");
    fails("; run: @cube([1.0, 1.0, 1.0]) == [1.0, 1.0, 1.0]\n", 6, "called @square");
    fails("; run: @square([1.0]) == [1.0, 1.0, 1.0]\n", 6, "input x");
    fails("; run: @square([1.0, 1.0, 1.0]) == [1.0]\n", 6, "output y");
    fails("; run: @square([1.0, 1.0, 1.0]) == [1.0, 1.0, 1.0], 2.0\n", 6, "2 values for 1 outputs");
    fails("; grad exact: %z at [1.0, 1.0, 1.0] == [1.0, 1.0, 1.0]\n", 6, "no input %z");
    fails("; grad exactly: %x at [1.0, 1.0, 1.0] == [1.0, 1.0, 1.0]\n", 6, "'exactly'");
    fails("; runs the square: it does\n; run it: @square\n", 7, "no expectation");
}

#[test]
fn errors_are_expected_by_their_message() {
    fails("; error: there is no op\n", 6, "no error");
    let text =
        "; a file\ngraph @f(%x: f32[2]) -> f32[2] {\n    %y = square_root %x\n    return %y\n}\n";
    let message = "line 3, column 10: there is no op 'square_root'";
    assert!(Check::new(&format!("{text}; error: {message}\n")).run().failures.is_empty());
    let other = Check::new(&format!("{text}; error: a syntax error\n")).run().failures;
    assert!(other[0].message.contains(message), "{}", other[0].message);
}

#[test]
fn a_wrong_graph_is_blessed_and_then_passes() {
    let stale =
        "; lower:\n;     graph @other() {\n; run: @square([1.5, 3.0, 1.0]) == [2.0, 8.0, 1.0]\n";
    fails(stale, 6, "pam.mul");
    let blessed = report(stale).blessed.expect("the printed graph differs");
    assert!(Check::new(&blessed).run().failures.is_empty(), "{blessed}");
    assert!(blessed.contains(";     graph @square(") && blessed.ends_with("1.0]\n"), "{blessed}");
    let twice = Check::new(&blessed.replace("pam.mul", "pam.div")).run();
    assert_eq!(twice.blessed.as_deref(), Some(blessed.as_str()));
}

#[test]
fn every_machine_is_asked() {
    let graph = pamc_passes::ir::parse(SQUARE, &Default::default()).expect("a graph");
    let graph = pamc_passes::pass::lower(&graph, Arith::PAM).expect("lowered");
    let program = Program::new(graph, Arith::PAM).expect("a program");
    let x = Tensor::from_vec(&[3], vec![1.5f32, 3.0, -2.0]).expect("three");
    let outcomes = everywhere(&program, Arith::PAM, &[("x".to_string(), x)].into());
    let names: Vec<_> = outcomes.iter().map(|(name, _)| name.as_str()).collect();
    let [plain, simplified] = ["", ", simplified"].map(|what| {
        let one = |n| format!("compiled code{what}, {n} thread(s)");
        let vulkan = crate::gpu::device().map(|_| format!("Vulkan{what}"));
        let three = [format!("the interpreter{what}"), one(1), one(2)];
        three.into_iter().chain(vulkan).collect::<Vec<_>>()
    });
    assert_eq!(names, [plain, simplified].concat());
    for (name, outcome) in &outcomes {
        let y = outcome.as_ref().expect(name)["y"].to_vec::<f32>();
        assert_eq!(y.as_deref(), Some(&[2.0, 8.0, 4.0][..]), "{name}");
    }
}
