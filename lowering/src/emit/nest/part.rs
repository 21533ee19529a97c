//! Part of the rows and columns of a nest: what is done to a block of a contraction's result.

use super::super::builder::Builder;
use super::super::types::Value;
use super::{Emitter, INDEX, LANES, function, memref};
use crate::codegen::Access;
use crate::kernels::After;
use crate::schedule::nest::Nest;

/// Writes the function `@contraction_after(params…, top, bottom, left, right)` of a nest over rows and
/// columns without reductions: rows from top to bottom, columns from left, a multiple of the lanes of
/// a vector, to right, which is another or the end of the rows.
pub(in crate::emit) fn part(b: &mut Builder, contraction: &str, nest: &Nest) -> After {
    let name = format!("{contraction}_after");
    let types: Vec<String> = nest.params.iter().map(|p| memref(p.dtype, p.len)).collect();
    let mut list: Vec<(String, String)> =
        types.iter().enumerate().map(|(i, ty)| (format!("%p{i}"), ty.clone())).collect();
    let bounds = [(); 4].map(|()| b.fresh(INDEX));
    list.extend(bounds.iter().map(|v| (v.to_string(), "index".to_string())));
    function(b, Access::Internal, &name, &list, |b| Emitter::new(b, nest, false).part(bounds));
    After { function: name, params: types }
}

impl Emitter<'_> {
    fn part(&mut self, [top, bottom, left, right]: [Value; 4]) {
        let stores: Vec<usize> = (0..self.nest.stores.len()).collect();
        let roots = self.passes.iter().flat_map(|pass| pass.roots(self.nest)).collect::<Vec<_>>();
        let columns = self.nest.inner[0];
        let main = self.index(columns / LANES * LANES);
        let end = self.b.binary("arith.minsi", right, main);
        let tail = (!columns.is_multiple_of(LANES)).then(|| self.b.compare("sgt", right, main));
        self.for_between(top, bottom, 1, Vec::new(), |e, row, _| {
            e.at[0] = Some(row);
            e.prepare(&roots);
            e.for_between(left, end, LANES, Vec::new(), |e, column, _| {
                e.at[1] = Some(column);
                e.vector(&[], &stores, Vec::new())
            });
            if let Some(tail) = tail {
                e.region(format!("scf.if {tail}"), |e| {
                    e.at[1] = Some(main);
                    e.lanes = columns % LANES;
                    e.vector(&[], &stores, Vec::new());
                    e.lanes = LANES;
                });
            }
            e.forget();
            Vec::new()
        });
    }
}
