//! Statements, operands and numbers as PTX writes them.

/// Statements with their lines: split at semicolons, labels and braces, without comments.
pub(super) fn statements(text: &str) -> Vec<(u64, String)> {
    let mut out = Vec::new();
    let (mut current, mut start, mut braces) = (String::new(), 1, 0);
    let mut block_comment = false;
    for (n, line) in text.lines().enumerate() {
        let n = n as u64 + 1;
        let mut rest = line;
        if block_comment {
            let Some((_, after)) = rest.split_once("*/") else { continue };
            (rest, block_comment) = (after, false);
        }
        let code = rest.split("//").next().unwrap_or_default();
        let code = match code.split_once("/*") {
            Some((before, after)) => {
                block_comment = !after.contains("*/");
                before
            }
            None => code,
        };
        for c in code.chars() {
            if current.trim().is_empty() {
                start = n;
            }
            // Braces within an instruction hold vectors; others open and close bodies.
            let opens_body = c == '{'
                && (current.trim().is_empty()
                    || current.trim_end().ends_with(')') && current.trim_start().starts_with('.'));
            let named = current.trim_start().starts_with('.');
            match c {
                '{' if opens_body || (named && !current.contains('=')) && braces == 0 => {
                    out.push((start, format!("{} {{", current.trim())));
                    current.clear();
                }
                '}' if current.trim().is_empty() && braces == 0 => out.push((n, "}".into())),
                ';' => {
                    out.push((start, current.trim().to_owned()));
                    current.clear();
                    braces = 0;
                }
                ':' if current.trim_start().starts_with('$') || is_label(&current) => {
                    out.push((start, format!("{}:", current.trim())));
                    current.clear();
                }
                _ => {
                    braces += i32::from(c == '{') - i32::from(c == '}');
                    current.push(c);
                }
            }
        }
        let directive = current.trim_start();
        if [".version", ".target", ".address_size", ".loc", ".file"]
            .iter()
            .any(|d| directive.starts_with(d))
        {
            out.push((start, current.trim().to_owned()));
            current.clear();
        } else {
            current.push(' ');
        }
    }
    out
}

pub(super) fn is_label(text: &str) -> bool {
    let text = text.trim();
    !text.is_empty()
        && !text.starts_with('.')
        && text.chars().all(|c| c.is_alphanumeric() || "_$%".contains(c))
}

/// Splits operands at commas outside brackets.
pub(super) fn split(text: &str) -> Vec<String> {
    let (mut depth, mut current, mut out) = (0, String::new(), Vec::new());
    for c in text.chars() {
        match c {
            '(' | '{' | '[' => depth += 1,
            ')' | '}' | ']' => depth -= 1,
            ',' if depth == 0 => {
                out.push(std::mem::take(&mut current).trim().to_owned());
                continue;
            }
            '|' if depth == 0 => {
                current.push(' ');
                continue;
            }
            _ => {}
        }
        current.push(c);
    }
    if !current.trim().is_empty() {
        out.push(current.trim().to_owned());
    }
    out
}

/// A number as PTX writes it; floats are no whole numbers but constants all the same.
pub(super) fn immediate(text: &str) -> Option<i128> {
    let text = text.trim();
    if text.starts_with("0f")
        || text.starts_with("0d")
        || text.starts_with("0F")
        || text.starts_with("0D")
    {
        // Of no integer multiply, and a constant that is no power of two for the others.
        return Some(3);
    }
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |d| (true, d));
    let digits = digits.trim_end_matches('U');
    let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => i128::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    Some(if negative { -value } else { value })
}
