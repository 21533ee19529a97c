//! Which parameters a training changes, by patterns on their names.

use glob::{MatchOptions, Pattern};

use crate::error::Error;

/// Names as similar as this (1: equal) are told to whoever wrote a pattern that matches nothing.
const SIMILAR: f64 = 0.6;
/// Names that an error lists.
const LISTED: usize = 5;

/// Parameters to train and not to train. A name that both match is trained, so that
/// `frozen("*")` with `trainable("head.*")` means the head alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Patterns of tensors to train, whatever they look like.
    pub trainable: Vec<Pattern>,
    /// Patterns of tensors to leave as they are.
    pub frozen: Vec<Pattern>,
}

fn matches(patterns: &[Pattern], name: &str) -> bool {
    let options = MatchOptions { case_sensitive: true, ..MatchOptions::default() };
    patterns.iter().any(|p| p.matches_with(name, options))
}

impl Selection {
    /// Whether a name is to be trained; `None` where no pattern says.
    pub fn says(&self, name: &str) -> Option<bool> {
        let trainable = matches(&self.trainable, name);
        (trainable || matches(&self.frozen, name)).then_some(trainable)
    }

    /// Those of the names that are not to be trained.
    ///
    /// # Errors
    /// As [`Selection::check`].
    pub fn frozen_of(&self, names: &[String]) -> Result<Vec<String>, Error> {
        self.check(names)?;
        Ok(names.iter().filter(|n| self.says(n) == Some(false)).cloned().collect())
    }

    /// Whether there are no patterns.
    pub fn is_empty(&self) -> bool {
        self.trainable.is_empty() && self.frozen.is_empty()
    }

    /// Every pattern matches one of the names.
    ///
    /// # Errors
    /// Lists those that do not, each with the names nearest to it.
    pub fn check(&self, names: &[String]) -> Result<(), Error> {
        let given = [("--trainable", &self.trainable), ("--frozen", &self.frozen)];
        let mut lines = Vec::new();
        for (option, patterns) in given {
            let idle =
                patterns.iter().filter(|p| !names.iter().any(|n| matches(&[(*p).clone()], n)));
            for pattern in idle {
                lines.push(format!(
                    "{option} {pattern} matches no parameter{}",
                    near(pattern, names)
                ));
            }
        }
        if lines.is_empty() { Ok(()) } else { Err(Error::usage(lines.join("\n"))) }
    }
}

/// The names most like a pattern; without any, some of those there are.
pub(crate) fn near(pattern: &Pattern, names: &[String]) -> String {
    let wanted = pattern.as_str().replace(['*', '?'], "");
    let mut ranked: Vec<(f64, &String)> =
        names.iter().map(|n| (strsim::jaro_winkler(&wanted, n), n)).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let similar = ranked.iter().filter(|(likeness, _)| *likeness >= SIMILAR).count();
    let quoted = |n: usize| -> Vec<String> {
        ranked.iter().take(n).map(|(_, name)| format!("`{name}`")).collect()
    };
    match similar {
        0 if names.is_empty() => ": the model has none".to_owned(),
        0 => format!("; there are {}{}", quoted(LISTED).join(", "), more(names.len())),
        n => format!("; near it are {}", quoted(n.min(LISTED)).join(", ")),
    }
}

fn more(n: usize) -> String {
    if n > LISTED { format!(" and {} more", n - LISTED) } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(trainable: &[&str], frozen: &[&str]) -> Selection {
        let patterns = |list: &[&str]| list.iter().map(|p| Pattern::new(p).unwrap()).collect();
        Selection { trainable: patterns(trainable), frozen: patterns(frozen) }
    }

    #[test]
    fn trainable_wins_and_stars_cross_separators() {
        let head = selection(&["head.*"], &["*"]);
        assert_eq!(head.says("head.weight"), Some(true));
        assert_eq!(head.says("/blocks/0/fc.weight"), Some(false));
        assert_eq!(selection(&[], &["*.bias"]).says("fc.weight"), None);
    }

    #[test]
    fn patterns_without_a_match_name_what_is_near() {
        let names = ["head.weight", "head.bias", "fc1.weight"].map(str::to_owned);
        assert!(selection(&["head.*"], &["fc?.*"]).check(&names).is_ok());
        let error = selection(&["haed.*"], &["zzz"]).check(&names).unwrap_err().to_string();
        assert!(error.contains("--trainable haed.* matches no parameter; near it are `head."));
        assert!(error.contains("--frozen zzz matches no parameter; there are "), "{error}");
    }
}
