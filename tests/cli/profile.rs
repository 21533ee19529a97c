//! `pamc profile` accounts for the time of a program.

use super::Place;

fn profile(arguments: &str) -> serde_json::Value {
    let text = Place::new().pamc(&format!("profile {arguments} --json --runs 2")).success();
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn a_training_step_is_divided_among_its_source_nodes() {
    let found = profile("@mlp:tiny --train --dim batch=4 --top 1000");
    let nodes = found["nodes"].as_array().expect("a list");
    let sum = |key: &str| nodes.iter().filter_map(|n| n[key].as_f64()).sum::<f64>();
    let whole = found["seconds_per_run"].as_f64().expect("a number");
    assert!((sum("seconds") / whole - 1.0).abs() < 1e-6, "{found:#}");
    assert_eq!(Some(sum("products")), found["products"].as_f64(), "{found:#}");
    assert!(nodes.iter().any(|n| n["node"].as_str().is_some_and(|s| s.contains("fc1"))));
    assert!(found["peak_products_per_second"].as_f64() > Some(0.0));
}

#[test]
fn products_are_those_of_the_shapes() {
    // 784 × 128 and 128 × 10 weights, 8 samples.
    let found = profile("@mlp --dim batch=8");
    assert_eq!(found["products"].as_u64(), Some(8 * (784 * 128 + 128 * 10)));
}
