//! The form in which contractions are planned: few batch dimensions, contiguous columns of the output.

use super::{Kind, MatmulSpec, Operand, Output};

/// The same contraction with as few batch dimensions as can be, transposed where that makes the
/// output's columns contiguous; true if so, by which its operands are exchanged.
pub(crate) fn canonical(spec: &MatmulSpec) -> (MatmulSpec, bool) {
    let mut spec = spec.clone();
    merge_batch(&mut spec);
    let swapped = swap_if_columns_are_strided(&mut spec);
    (spec, swapped)
}

fn for_each_operand(spec: &mut MatmulSpec, mut f: impl FnMut(&mut Operand)) {
    f(&mut spec.a);
    f(&mut spec.b);
    f(&mut spec.out);
    if let Kind::Slope { at } = &mut spec.kind {
        f(at);
    }
}

/// Drops batch dimensions of size 1, joins neighbours that are one dimension in memory, and turns a
/// dimension that `b` broadcasts over into more rows.
fn merge_batch(spec: &mut MatmulSpec) {
    for dim in (0..spec.batch.len()).rev() {
        if spec.batch[dim] == 1 {
            spec.batch.remove(dim);
            for_each_operand(spec, |o| _ = o.strides.remove(dim));
        }
    }
    for dim in (1..spec.batch.len()).rev() {
        let inner = spec.batch[dim] as i64;
        let mut joins = true;
        for_each_operand(spec, |o| joins &= o.strides[dim - 1] == o.strides[dim] * inner);
        if joins {
            spec.batch[dim - 1] *= spec.batch.remove(dim);
            for_each_operand(spec, |o| _ = o.strides.remove(dim - 1));
        }
    }
    while let Some(dim) = spec.batch.len().checked_sub(1) {
        let rows = spec.m as i64;
        let joins =
            |o: &Operand| o.split[0].is_empty() && o.strides[dim] == rows * o.strides[dim + 1];
        let at = match &spec.kind {
            Kind::Product => true,
            Kind::Slope { at } => joins(at),
        };
        if spec.b.strides[dim] != 0 || !at || !joins(&spec.a) || !joins(&spec.out) {
            break;
        }
        spec.m *= spec.batch.remove(dim);
        for_each_operand(spec, |o| _ = o.strides.remove(dim));
    }
}

/// Exchanges rows and columns.
pub(super) fn transpose(spec: &mut MatmulSpec) {
    let rank = spec.batch.len();
    std::mem::swap(&mut spec.a, &mut spec.b);
    std::mem::swap(&mut spec.m, &mut spec.n);
    for_each_operand(spec, |o| {
        o.strides.swap(rank, rank + 1);
        o.split.swap(0, 1);
    });
}

/// Computes the transpose where that makes the output's columns contiguous, or its rows those in whose
/// order results are added.
fn swap_if_columns_are_strided(spec: &mut MatmulSpec) -> bool {
    let rank = spec.batch.len();
    let (row, column) = (spec.out.strides[rank], spec.out.strides[rank + 1]);
    let swap = match spec.output {
        Output::Store => row == 1 && spec.m > 1 && (column != 1 || spec.n == 1),
        Output::AddByRows(_) => false,
        Output::AddByColumns(_) => true,
    };
    if swap {
        transpose(spec);
    }
    if let Output::AddByColumns(apart) = spec.output {
        spec.output = Output::AddByRows(apart);
    }
    swap
}
