//! Where the rows, columns and terms of an operand lie in memory.

use super::plan::Groups;
use super::text::{Text, Val};
use super::{Dim, Operand};

/// What is done at a place, given what is carried there.
type Body<'a> = dyn FnMut(&mut Text, &str, &[Val]) -> Vec<Val> + 'a;

/// An axis of a matrix: its dimensions, outermost first. Neighbours that are one dimension in
/// memory are joined, so an axis with one stride has one.
#[derive(Clone, Debug)]
pub(super) struct Axis(Vec<Dim>);

impl Axis {
    /// The rows (0) or columns (1) of an operand, of which there are `extent`.
    pub fn of(operand: &Operand, which: usize, extent: usize) -> Axis {
        let rank = operand.strides.len() - 2;
        let whole = [Dim { extent, stride: operand.strides[rank + which] }];
        let dims = match &operand.split[which][..] {
            [] => &whole[..],
            split => split,
        };
        let mut joined: Vec<Dim> = Vec::new();
        for &dim in dims.iter().filter(|d| d.extent != 1) {
            match joined.last_mut() {
                Some(last) if last.stride == dim.stride * dim.extent as i64 => {
                    *last = Dim { extent: last.extent * dim.extent, stride: dim.stride };
                }
                _ => joined.push(dim),
            }
        }
        if joined.is_empty() {
            joined.push(Dim { extent, stride: whole[0].stride });
        }
        Axis(joined)
    }

    /// The stride of an axis that has only one.
    pub fn stride(&self) -> Option<i64> {
        match self.0[..] {
            [only] => Some(only.stride),
            _ => None,
        }
    }

    /// How many neighbours are neighbours in memory.
    pub fn run(&self) -> usize {
        match self.0.last() {
            Some(Dim { extent, stride: 1 }) => *extent,
            _ => 1,
        }
    }

    /// Elements from the axis's start to an index.
    pub fn offset(&self, t: &mut Text, index: &str) -> Val {
        if let Some(stride) = self.stride() {
            return t.i64_op("muli", index, stride);
        }
        let mut rest = index.to_string();
        let mut offset = t.i64(0);
        for (i, dim) in self.0.iter().enumerate().rev() {
            let mut at = rest.clone();
            if i > 0 {
                at = t.i64_op("remui", &rest, dim.extent as i64);
                rest = t.i64_op("divui", &rest, dim.extent as i64);
            }
            let step = t.i64_op("muli", &at, dim.stride);
            offset = t.bin("addi", &offset, &step, "i64");
        }
        offset
    }

    /// Every place in turn, from `place` on: `body` is given it and what is carried. Only sums: what
    /// goes to memory is not to come from a product, be it of addresses.
    fn walk(
        t: &mut Text,
        dims: &[Dim],
        place: &str,
        carried: &[Val],
        body: &mut Body<'_>,
    ) -> Vec<Val> {
        let Some((dim, inner)) = dims.split_first() else { return body(t, place, carried) };
        let bounds = [0, dim.extent as i64].map(|n| t.i64(n));
        let start = [&[place.to_string()], carried].concat();
        let start: Vec<_> = start.into_iter().map(|v| (v, "i64".to_string())).collect();
        let mut last = t.loop_with([&bounds[0], &bounds[1]], 1, &start, |t, _, now| {
            let mut next = Self::walk(t, inner, &now[0], &now[1..], body);
            next.insert(0, t.i64_op("addi", &now[0], dim.stride));
            next
        });
        last.split_off(1)
    }
}

/// A table of where the entries of an axis lie; see [`super::tabled`].
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub axis: Axis,
    pub groups: Groups,
    /// Where it begins in scratch.
    pub offset: usize,
}

impl Table {
    /// Writes the table. What fills up a group repeats its last entry.
    pub fn fill(&self, t: &mut Text, scratch: &str) {
        let Groups { count, extent, filled } = self.groups;
        if count * extent == 0 {
            return;
        }
        let base = t.at_const(scratch, self.offset as i64);
        let zero = t.i64(0);
        Axis::walk(t, &self.axis.0, &zero, &[zero.clone(), zero.clone()], &mut |t, place, at| {
            let place = t.def(&format!("arith.trunci {place} : i64 to i32"));
            let p = t.at(&base, &at[0]);
            t.store(&place, &p, "i32");
            let next = t.i64_op("addi", &at[1], 1);
            let end = t.i64(extent as i64);
            let ends = t.def(&format!("arith.cmpi eq, {next}, {end} : i64"));
            let step = [filled - extent + 1, 1].map(|n| t.i64(n as i64));
            let zero = t.i64(0);
            let [step, next] = [[&step[0], &step[1]], [&zero, &next]]
                .map(|[yes, no]| t.def(&format!("arith.select {ends}, {yes}, {no} : i64")));
            vec![t.bin("addi", &at[0], &step, "i64"), next]
        });
        let groups = t.i64(count as i64);
        t.loop_to(&groups, 1, |t, group| {
            let start = t.i64_op("muli", group, filled as i64);
            let to = t.at(&base, &start);
            let p = t.at_const(&to, extent as i64 - 1);
            let last = t.load(&p, "i32");
            let bounds = [extent, filled].map(|n| t.i64(n as i64));
            t.loop_with([&bounds[0], &bounds[1]], 1, &[], |t, at, _| {
                let p = t.at(&to, at);
                t.store(&last, &p, "i32");
                Vec::new()
            });
        });
    }
}
