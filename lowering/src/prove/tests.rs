use super::*;
use pamc_passes::prove::discharge;

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn emitted_primitives_are_the_reference() {
    let all = obligations().unwrap();
    assert!(all.len() >= 35, "{}", all.len());
    let verdicts = discharge(&all, LIMIT, |_| ()).unwrap();
    let open: Vec<_> = verdicts.iter().filter(|v| !v.status.holds()).collect();
    assert!(open.is_empty(), "{open:#?}");
}

/// One changed constant or operation in the emitted text is found.
#[test]
fn planted_mistakes_are_refuted() {
    let mistakes = [
        ("pam.mul", "arith.minui", "arith.minsi"),
        ("pam.mul", "2139095040 : i32", "2139095041 : i32"),
        ("pam.div", "uno", "ord"),
        ("pam.sqrt", "532676608 : i32", "532676609 : i32"),
        ("pam.mul_slope", "arith.minui", "arith.maxui"),
        ("pam.exp2", "math.roundeven", "math.floor"),
    ];
    for (name, right, wrong) in mistakes {
        let case = cases().into_iter().find(|c| c.name == name).unwrap();
        let text = module(&case).unwrap();
        assert!(text.contains(right), "{name}: {text}");
        let status = solve(&case, &text.replace(right, wrong), LIMIT).unwrap();
        assert!(matches!(status, Status::Refuted(_)), "{name} {right}: {status:?}");
    }
}
