use super::*;
use crate::rules::guard::Guard::*;

#[test]
fn every_rule_of_the_table_is_admitted() {
    let refused: Vec<String> =
        list().into_iter().filter_map(|l| l.status.err()).map(|e| e.to_string()).collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    for rule in bit_exact().unwrap().rules() {
        assert!(rule.samples() >= 20, "{}", rule.spec().name);
    }
    for rule in over_the_reals().unwrap().rules() {
        assert!(rule.samples() >= 10, "{}", rule.spec().name);
    }
}

/// Both sides of every rule of a table on a small graph.
fn snapshot(set: &RuleSet) -> String {
    let mut out = String::new();
    for rule in set.rules() {
        let (left, right) = rule.example().unwrap();
        let guards: Vec<String> = rule.spec().guards.iter().map(ToString::to_string).collect();
        out += &format!("; {} {}\n{left}{right}\n", rule.spec().name, guards.join(", "));
    }
    out
}

#[test]
fn bit_exact_rules_on_a_small_graph() {
    insta::assert_snapshot!(snapshot(bit_exact().unwrap()));
}

#[test]
fn real_rules_on_a_small_graph() {
    insta::assert_snapshot!(snapshot(over_the_reals().unwrap()));
}

#[test]
fn identities_that_are_false_over_the_reals_are_refused() {
    let wrong = [
        real("linear-exp", "(exp (add ?a ?b))", "(add (exp ?a) (exp ?b))"),
        real("root-of-sum", "(sqrt (add ?a ?b))", "(add (sqrt ?a) (sqrt ?b))"),
        real("signless", "(sqrt (square ?a))", "?a"),
        real("softmax-axis", "(softmax ?x #0)", "(softmax ?x #1)").on(&["?x: f32[3, 8]"]),
    ];
    for spec in wrong {
        let text = Rule::real(spec).expect_err(spec.name).to_string();
        assert!(text.contains("ordinary arithmetic"), "{}: {text}", spec.name);
    }
}

/// Admission of a planted rule, with its counterexample or reason.
fn refusal(spec: Spec) -> String {
    Rule::bits(spec).expect_err(spec.name).to_string()
}

/// Rules that are false.
pub(crate) fn planted() -> Vec<Spec> {
    vec![
        bits("distributive", "(pam.mul ?a (add ?b ?c))", "(add (pam.mul ?a ?b) (pam.mul ?a ?c))")
            .when(&[Within("?a", 1.0, 2.0), Within("?b", 1.0, 2.0), Within("?c", 1.0, 2.0)]),
        bits("unguarded", "(pam.div (pam.mul ?a ?b) ?b)", "?a"),
        bits("half-guarded", "(pam.div (pam.mul ?a ?b) ?b)", "?a")
            .when(&[NonZero("?b"), Finite("?b")]),
        bits("zero-sum", "(add ?a ?c)", "?a").when(&[Is("?c", 0.0)]),
        bits("zero-product", "(pam.mul ?a ?c)", "?c").when(&[Is("?c", 0.0)]),
        bits("root", "(pam.mul (pam.sqrt ?a) (pam.sqrt ?a))", "?a").when(&[Within("?a", 1.0, 2.0)]),
        bits("log", "(pam.exp2 (pam.log2 ?a))", "?a").when(&[Within("?a", 0.1, 64.0)]),
        bits("minus", "(neg (sub ?a ?b))", "(sub ?b ?a)"),
        bits("logs-add", "(pam.exp2 (add (pam.log2 ?a) (pam.log2 ?b)))", "(pam.mul ?a ?b)")
            .when(&[Within("?a", 1.0, 2.0), Within("?b", 1.0, 2.0)]),
        bits("associative", "(add (add ?a ?b) ?c)", "(add ?a (add ?b ?c))"),
        bits("mixed-sides", "(pam.mul (pam.mul ?a ?c) ?d)", "(pam.mul ?a (pam.mul ?c ?d))")
            .when(&[Uniform("?c"), Uniform("?d"), MulInRange("?c", "?d")]),
        bits("one-element", "(sum ?x ?axes #true)", "?x")
            .when(&[OneElement("?x", "?axes")])
            .on(&["?x: f32[60, 1]; ?axes: [-1]"]),
        bits("square-transpose", "(transpose ?x ?p)", "?x").on(&["?x: f32[4, 4]; ?p: [1, 0]"]),
        bits("int-bits", "(bitcast (bitcast ?x #f32) #i32)", "?x").on(&["?x: i32[400]"]),
    ]
}

#[test]
fn identities_that_are_not_bit_exact_are_refused() {
    for spec in planted() {
        let text = refusal(spec);
        assert!(text.contains("does not hold"), "{}: {text}", spec.name);
    }
}

#[test]
fn malformed_and_vacuous_rules_are_refused() {
    assert!(refusal(bits("unbound", "(neg ?a)", "?b")).contains("?b"));
    assert!(refusal(bits("no-op", "(frobnicate ?a)", "?a")).contains("no op"));
    assert!(refusal(bits("arity", "(pam.mul ?a)", "?a")).contains("pam.mul"));
    let never = bits("never", "(neg ?a)", "?a").when(&[Is("?a", 1.0), Is("?a", 2.0)]);
    assert!(matches!(Rule::bits(never), Err(Refused::Unsampled { .. })));
}

/// A false rule that got past admission is caught by the analysis, and named by the explanation.
#[test]
fn a_contradiction_of_the_analysis_aborts_with_its_rules() {
    let wrong = Rule::parse(bits("sign-lost", "(abs ?a)", "(neg ?a)")).unwrap();
    let text = "graph @f(%b: bool[4]) -> f32[4] {
        %x = cast %b {to = f32}
        %one = const {value = f32[][1.0]}
        %s = add %x, %one
        %y = abs %s
        return y = %y
    }";
    let graph = crate::ir::parse(text, &crate::ir::Dims::new()).unwrap();
    let error = crate::egraph::Engine::new(&[wrong], false).run(&graph).unwrap_err().to_string();
    assert!(error.contains("sign-lost") && error.contains("contradict"), "{error}");
}
