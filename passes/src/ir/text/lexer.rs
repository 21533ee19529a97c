//! Tokens with their places.

use super::TextError;

#[derive(Clone, Debug, PartialEq)]
pub enum Token {
    /// An identifier, keyword or number.
    Word(String),
    /// A quoted string, unescaped.
    Str(String),
    /// One of `@ % ( ) [ ] { } , : = ->`.
    Sign(&'static str),
    End,
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::Word(w) => write!(f, "'{w}'"),
            Token::Str(s) => write!(f, "{s:?}"),
            Token::Sign(s) => write!(f, "'{s}'"),
            Token::End => f.write_str("the end of the text"),
        }
    }
}

/// A token and its byte offset.
pub type Spanned = (Token, usize);

pub fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '+' | '-')
}

/// Line and column, from 1, of a byte offset.
pub fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    (line, before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1)
}

pub fn error(text: &str, offset: usize, message: impl Into<String>) -> TextError {
    let (line, column) = place(text, offset);
    TextError::Syntax { line, column, message: message.into() }
}

pub fn tokens(text: &str) -> Result<Vec<Spanned>, TextError> {
    const SIGNS: [&str; 11] = ["->", "@", "%", "(", ")", "[", "]", "{", "}", ",", ":"];
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        if c.is_whitespace() {
            at += c.len_utf8();
        } else if c == ';' {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if c == '"' {
            let (s, len) = string(text, at)?;
            out.push((Token::Str(s), at));
            at += len;
        } else if c == '=' {
            out.push((Token::Sign("="), at));
            at += 1;
        } else if let Some(sign) = SIGNS.iter().find(|s| rest.starts_with(**s)) {
            out.push((Token::Sign(sign), at));
            at += sign.len();
        } else if is_word(c) {
            let len = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            out.push((Token::Word(rest[..len].to_string()), at));
            at += len;
        } else {
            return Err(error(text, at, format!("unexpected character {c:?}")));
        }
    }
    out.push((Token::End, text.len()));
    Ok(out)
}

fn string(text: &str, at: usize) -> Result<(String, usize), TextError> {
    let mut out = String::new();
    let mut chars = text[at..].char_indices().skip(1);
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Ok((out, i + 1)),
            '\\' => match chars.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, c @ ('"' | '\\'))) => out.push(c),
                _ => return Err(error(text, at + i, "unknown escape in a string")),
            },
            '\n' => break,
            c => out.push(c),
        }
    }
    Err(error(text, at, "unterminated string"))
}
