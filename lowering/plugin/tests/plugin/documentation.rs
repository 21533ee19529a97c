//! The commands of the README are run as they stand.

use crate::tools::{folder, plugin};
use std::process::Command;

/// Fenced blocks of a kind, in order.
fn blocks(text: &str, kind: &str) -> Vec<String> {
    let fence = format!("```{kind}\n");
    let parts = text.split(&fence).skip(1);
    parts.filter_map(|part| part.split_once("\n```").map(|(block, _)| block.to_string())).collect()
}

#[test]
fn commands_of_the_readme_run() {
    let readme = std::fs::read_to_string(folder().join("../README.md")).expect("a README");
    let place = tempfile::tempdir().expect("a folder");
    let [module] = &blocks(&readme, "mlir")[..] else { panic!("one module is expected") };
    std::fs::write(place.path().join("input.mlir"), module).expect("written");
    let dialect = std::fs::canonicalize(folder().join("../dialect")).expect("a folder");
    let library = plugin();
    let mut count = 0;
    for block in blocks(&readme, "sh") {
        let script = block
            .replace("target/release/libpamc_plugin.so", &library.display().to_string())
            .replace("lowering/dialect", &dialect.display().to_string());
        let output = Command::new("sh")
            .args(["-ec", &script])
            .current_dir(place.path())
            .output()
            .expect("a shell");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}\n{error}");
        count += 1;
    }
    assert!(count >= 4, "{count} blocks");
    let printed = std::fs::read_to_string(place.path().join("bits.txt")).expect("a result");
    assert_eq!(printed.trim(), "1077936128", "1.5 ⊙ 1.5 is 2, and 2 + 1 is 3");
}
