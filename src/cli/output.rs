//! Writing to the terminal, to pipes and to files.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use crate::error::Error;
use crate::runtime::files::write_whole;

/// Write bytes to the file, or to standard output where there is none.
///
/// # Errors
/// If the file or the pipe does not take them.
pub fn put(to: Option<&Path>, bytes: &[u8]) -> Result<(), Error> {
    match to {
        Some(path) => write_whole(path, bytes),
        None => {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes)
                .and_then(|()| out.flush())
                .map_err(|e| Error::file("write", Path::new("standard output"), e))
        }
    }
}

/// Columns of equal width, two spaces apart; the last one as long as it likes.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|c| width(c).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:<width$}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Text of a value as JSON, with a line feed.
pub fn json(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}
