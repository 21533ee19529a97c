//! The table itself: the rows of all groups, and look-up by name.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::{Op, real, rows};

static GROUPS: &[&[Op]] = &[
    rows::leaf::ROWS,
    rows::elementwise::ROWS,
    rows::pam::ROWS,
    rows::composite::ROWS,
    rows::ordinary::ROWS,
    rows::contract::ROWS,
    rows::reduce::ROWS,
    rows::layout::ROWS,
    rows::index::ROWS,
    real::arithmetic::ROWS,
    real::activation::ROWS,
    real::trigonometry::ROWS,
    real::hyperbolic::ROWS,
    real::softmax::ROWS,
    real::norm::ROWS,
    real::contract::ROWS,
    real::pool::ROWS,
    real::indexing::ROWS,
    real::loss::ROWS,
];

static BY_NAME: LazyLock<HashMap<&'static str, &'static Op>> =
    LazyLock::new(|| all().map(|op| (op.name, op)).collect());

/// Every row, group by group.
pub fn all() -> impl Iterator<Item = &'static Op> {
    GROUPS.iter().flat_map(|g| g.iter())
}

/// The row of that name.
pub fn lookup(name: &str) -> Option<&'static Op> {
    BY_NAME.get(name).copied()
}

/// The row of graph inputs.
pub fn input() -> &'static Op {
    &rows::leaf::ROWS[0]
}

impl std::fmt::Debug for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Op {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Op {}

impl std::hash::Hash for Op {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Kind;

    #[test]
    fn names_are_unique_and_documented() {
        assert_eq!(BY_NAME.len(), all().count());
        for op in all() {
            assert!(op.doc.len() > 10, "{} has no doc", op.name);
            assert!(op.lower.is_some() == !matches!(op.kind, Kind::Prim(_)), "{}", op.name);
        }
    }
}
