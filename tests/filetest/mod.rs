//! Runs `tests/filetests/**/*.pam`: a text graph with its expectations in comments; the README there
//! says which. One test a folder; a failure names file and line.

mod check;
mod directive;
mod machine;
mod planted;

use std::path::{Path, PathBuf};

use check::Check;

/// Something that did not turn out as the file says.
struct Failure {
    line: usize,
    message: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests")
}

/// Names of what is in a folder, sorted.
fn entries(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let read = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut found: Vec<_> = read.map(|e| e.expect("a readable entry").path()).collect();
    found.retain(|p| wanted(p));
    found.sort();
    found
}

/// Run every file of a folder and report all failures at once. With `PAMC_BLESS=1` the printed
/// graphs that files expect are replaced by those found; numbers never are.
fn run_folder(folder: &str) {
    let files = entries(&root().join(folder), |p| p.extension().is_some_and(|e| e == "pam"));
    assert!(!files.is_empty(), "tests/filetests/{folder} holds no .pam file");
    let bless = std::env::var("PAMC_BLESS").is_ok_and(|v| v == "1");
    let (mut failures, mut checks) = (Vec::new(), 0);
    for path in &files {
        let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(path).display();
        let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{name}: {e}"));
        let report = Check::new(&text).run();
        checks += report.expectations;
        if let Some(blessed) = report.blessed.filter(|_| bless) {
            std::fs::write(path, blessed).unwrap_or_else(|e| panic!("{name}: {e}"));
        }
        let said = |f: &Failure| format!("{name}:{}: {}", f.line, f.message);
        failures.extend(report.failures.iter().map(said));
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
    println!("{} files, {checks} expectations", files.len());
}

macro_rules! folders {
    ($($name:ident)*) => {
        const FOLDERS: &[&str] = &[$(stringify!($name)),*];
        $(#[test]
        fn $name() {
            run_folder(stringify!($name));
        })*
    };
}
folders! { arithmetic contract elementwise error float gradient index layout loss network pass reduce }

#[test]
fn every_folder_is_run() {
    let folders = entries(&root(), Path::is_dir);
    let names: Vec<_> = folders.iter().filter_map(|p| p.file_name()?.to_str()).collect();
    assert_eq!(names, FOLDERS);
}
