//! The table of the tests that do not pass.

use std::collections::BTreeMap;

/// Names of the listed tests with the reason they stand under: `## reason`, then names in
/// backquotes.
fn listed(text: &str) -> BTreeMap<&str, &str> {
    let (mut out, mut reason) = (BTreeMap::new(), "");
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            reason = heading;
        } else if !reason.is_empty() {
            out.extend(line.split('`').skip(1).step_by(2).map(|name| (name, reason)));
        }
    }
    out
}

/// What is wrong with the table, given what really happened.
pub fn compare(text: &str, results: &[(String, Result<(), String>)]) -> Vec<String> {
    let listed = listed(text);
    let mut wrong = Vec::new();
    for (name, result) in results {
        match (result, listed.get(name.as_str())) {
            (Ok(()), Some(reason)) => {
                wrong.push(format!("{name} passes, but is listed under '{reason}'"));
            }
            (Err(why), None) => wrong.push(format!("{name} fails and is not listed: {why}")),
            _ => {}
        }
    }
    let known = |name: &str| results.iter().any(|(n, _)| n == name);
    wrong.extend(listed.keys().filter(|n| !known(n)).map(|n| format!("there is no test {n}")));
    wrong
}

#[test]
fn the_table_is_compared_with_what_happened() {
    let text = "# Title\n`not_this`\n## Strings\n`a`, `b`\n## Other\n`c`\n";
    let results = [("a", true), ("b", false), ("d", false), ("e", true)]
        .map(|(n, ok)| (n.to_string(), if ok { Ok(()) } else { Err("no".to_string()) }));
    let wrong = compare(text, &results);
    let wanted = [
        "a passes, but is listed under 'Strings'",
        "d fails and is not listed: no",
        "there is no test c",
    ];
    assert_eq!(wrong, wanted);
}
