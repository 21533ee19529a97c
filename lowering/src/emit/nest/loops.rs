//! The loops around vectors.

use super::super::builder::Code;
use super::super::types::Value;
use super::{Emitter, INDEX, LANES, Mode, PARALLEL_ITERATIONS};

impl Emitter<'_> {
    /// Loops over the outer dimensions from `d` on.
    pub(super) fn outer(&mut self, d: usize) {
        let count = self.nest.outer.len();
        if d == 0 {
            let shared = self.shared_dims();
            if shared > 0 {
                return self.parallel_loops(shared);
            }
            self.make_buffers();
        }
        if d == count {
            return self.row_body();
        }
        if self.mode == Mode::Columns && d + 1 == count {
            return self.columns();
        }
        self.for_loop(self.iterations(d), 1, |e, iv| {
            e.at[d] = Some(iv);
            e.outer(d + 1);
        });
    }

    /// Iterations along an outer dimension.
    fn iterations(&self, d: usize) -> usize {
        let extent = self.nest.outer[d];
        if d + 1 == self.nest.outer.len() { extent / self.band.len() } else { extent }
    }

    /// How many leading dimensions are worth sharing out over threads.
    pub(super) fn shared_dims(&self) -> usize {
        let nest = self.nest;
        let ordered = nest.ordered.0 < nest.ordered.1;
        let mut free = if ordered { nest.ordered.0 } else { nest.outer.len() };
        if self.mode == Mode::Columns {
            free = free.min(nest.outer.len() - 1);
        }
        if !self.parallel {
            return 0;
        }
        let mut iterations = 1;
        for d in 0..free.min(nest.outer.len()) {
            iterations *= nest.outer[d];
            if iterations >= PARALLEL_ITERATIONS {
                return d + 1;
            }
        }
        if iterations > 1 { free } else { 0 }
    }

    fn parallel_loops(&mut self, count: usize) {
        let (zero, one) = (self.index(0), self.index(1));
        let ivs: Vec<Value> = (0..count).map(|_| self.b.fresh(INDEX)).collect();
        let ends: Vec<Value> = (0..count).map(|d| self.index(self.iterations(d))).collect();
        let list =
            |values: &[Value]| values.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
        let header = format!(
            "scf.parallel ({}) = ({}) to ({}) step ({})",
            list(&ivs),
            list(&vec![zero; count]),
            list(&ends),
            list(&vec![one; count])
        );
        self.region(header, |e| {
            ivs.iter().enumerate().for_each(|(d, iv)| e.at[d] = Some(*iv));
            match e.rows {
                Some(rows) => e.b.line(format_args!("{}", rows.call(&ivs))),
                None => e.outer(count),
            }
        });
    }

    /// The last outer dimension by vectors.
    fn columns(&mut self) {
        let d = self.nest.outer.len() - 1;
        let extent = self.nest.outer[d];
        let main = extent / LANES * LANES;
        if main > 0 {
            let body = |e: &mut Self, iv| {
                e.at[d] = Some(iv);
                e.lanes = LANES;
                e.outer(d + 1);
            };
            if self.parallel && d == 0 {
                self.parallel_loop(main, LANES, body);
            } else {
                self.for_loop(main, LANES, body);
            }
        }
        if extent > main {
            self.at[d] = Some(self.index(main));
            self.lanes = extent - main;
            self.outer(d + 1);
            self.lanes = LANES;
        }
    }

    pub(super) fn parallel_loop(
        &mut self,
        end: usize,
        step: usize,
        body: impl FnOnce(&mut Self, Value),
    ) {
        let (zero, end, step) = (self.index(0), self.index(end), self.index(step));
        let iv = self.b.fresh(INDEX);
        let header = format!("scf.parallel ({iv}) = ({zero}) to ({end}) step ({step})");
        self.region(header, |e| body(e, iv));
    }

    pub(super) fn for_loop(
        &mut self,
        end: usize,
        step: usize,
        body: impl FnOnce(&mut Self, Value),
    ) {
        self.for_carrying(end, step, Vec::new(), |e, iv, _| {
            body(e, iv);
            Vec::new()
        });
    }

    /// `0..end` by `step`, carrying values from one iteration to the next.
    pub(super) fn for_carrying(
        &mut self,
        end: usize,
        step: usize,
        start: Vec<Value>,
        body: impl FnOnce(&mut Self, Value, Vec<Value>) -> Vec<Value>,
    ) -> Vec<Value> {
        let (zero, end) = (self.index(0), self.index(end));
        self.for_between(zero, end, step, start, body)
    }

    /// `first..end` by `step`, carrying values from one iteration to the next.
    pub(super) fn for_between(
        &mut self,
        first: Value,
        end: Value,
        step: usize,
        start: Vec<Value>,
        body: impl FnOnce(&mut Self, Value, Vec<Value>) -> Vec<Value>,
    ) -> Vec<Value> {
        let step = self.index(step);
        let iv = self.b.fresh(INDEX);
        let carried: Vec<Value> = start.iter().map(|v| self.b.fresh(v.ty)).collect();
        let results: Vec<Value> = start.iter().map(|v| self.b.fresh(v.ty)).collect();
        let list =
            |f: &dyn Fn(usize) -> String| (0..start.len()).map(f).collect::<Vec<_>>().join(", ");
        let types = list(&|i| start[i].ty.to_string());
        let mut header = format!("scf.for {iv} = {first} to {end} step {step}");
        if !start.is_empty() {
            let names = list(&|i| results[i].to_string());
            let inits = list(&|i| format!("{} = {}", carried[i], start[i]));
            header = format!("{names} = {header} iter_args({inits}) -> ({types})");
        }
        self.region(header, |e| {
            let last = body(e, iv, carried);
            if !last.is_empty() {
                let values = last.iter().map(Value::to_string).collect::<Vec<_>>().join(", ");
                e.b.line(format_args!("scf.yield {values} : {types}"));
            }
        });
        if self.b.code() != Code::Spirv || start.is_empty() {
            return results;
        }
        // MLIR's SPIR-V loops leave nothing behind if they do not run at all.
        let runs = self.b.compare("ult", first, end);
        results.into_iter().zip(start).map(|(r, s)| self.b.select(runs, r, s)).collect()
    }

    /// A nested region, after which values computed inside are forgotten.
    pub(super) fn region(&mut self, header: String, body: impl FnOnce(&mut Self)) {
        let saved = (self.known.clone(), self.at.clone());
        self.known.iter_mut().for_each(|known| known.point.clear());
        let mut builder = std::mem::take(self.b);
        builder.region(header, |b| {
            std::mem::swap(b, self.b);
            body(self);
            std::mem::swap(b, self.b);
        });
        *self.b = builder;
        (self.known, self.at) = saved;
    }
}
