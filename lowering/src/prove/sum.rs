//! What the other proofs take for granted of float sums, proven of IEEE-754 addition.

use pamc_passes::prove::Obligation;

use super::Problem;

/// `x`, `y` and their sum `r`; subnormals are in none. A number is on the grid if it is a multiple of the
/// smallest normal one.
const HEAD: &str = "\
(declare-const x (_ BitVec 32))
(declare-const y (_ BitVec 32))
(declare-const r (_ BitVec 32))
(define-fun nan ((x (_ BitVec 32))) Bool (bvugt (bvand x #x7fffffff) #x7f800000))
(define-fun zero ((x (_ BitVec 32))) Bool (= (bvand x #x7fffffff) #x00000000))
(define-fun field ((x (_ BitVec 32))) (_ BitVec 32) ((_ zero_extend 24) ((_ extract 30 23) x)))
(define-fun normal ((x (_ BitVec 32))) Bool (or (zero x) (distinct (field x) #x00000000)))
(define-fun grid ((x (_ BitVec 32))) Bool
  (or (zero x) (bvuge (field x) #x00000018)
    (and (distinct (field x) #x00000000)
      (= #x00000000 (bvand x
        (bvsub (bvshl #x00000001 (bvsub #x00000018 (field x))) #x00000001))))))
(assert (= ((_ to_fp 8 24) r) (fp.add RNE ((_ to_fp 8 24) x) ((_ to_fp 8 24) y))))
(assert (and (normal x) (normal y)))
";

/// Facts about sums: name, assumption, conclusion.
pub(super) const SUMS: [(&str, &str, &str); 3] = [
    ("sum with a NaN", "(nan x)", "(nan r)"),
    ("sum with a zero", "(and (zero y) (distinct x #x80000000) (not (nan x)))", "(= r x)"),
    // So a sum is never subnormal, and never a zero that flushing made.
    (
        "sum of multiples of 2⁻¹²⁶",
        "(and (grid x) (grid y) (distinct x #x80000000))",
        "(and (grid r) (distinct r #x80000000))",
    ),
];

/// The problem of one fact.
pub(super) fn problem((_, given, then): (&str, &str, &str)) -> Problem {
    let given = format!("{HEAD}(assert {given})\n");
    Problem { given, claim: then.into(), operands: ["x", "y"].map(String::from).to_vec() }
}

/// All of them.
pub(super) fn obligations() -> Vec<Obligation<'static>> {
    SUMS.into_iter().map(|s| problem(s).obligation("sum", s.0.into(), "f32")).collect()
}
