//! The contraction function: packs panels, walks cache blocks, calls the inner kernels.

use std::collections::BTreeMap;

use super::micro::Version;
use super::plan::{Packed, Plan};
use super::select::versions;
use super::text::{Text, Val};
use super::thin::ThinDriver;
use super::{After, Arith, CHUNK, Operand, direct};
use crate::codegen::Access;

pub(super) const POINTER: &str = "!llvm.ptr";

/// The functions of one contraction; inner functions that others may share go to `shared`.
pub(super) fn emit(
    name: &str,
    access: Access,
    plan: &Plan,
    after: Option<&After>,
    shared: &mut BTreeMap<String, String>,
) -> String {
    let mut t = Text::default();
    let driver = Driver { name, plan, after };
    if plan.direct {
        t.func(name, access, &driver.parameters(), |t| {
            let operands = driver.pointers(t);
            direct::body(t, plan, &operands);
            let [zero, batch, rows, columns] =
                [0, plan.batch(), plan.spec.m, plan.spec.n].map(|n| t.i64(n as i64));
            t.loop_to(&batch, 1, |t, element| {
                driver.finish(t, &operands.after, element, [&zero, &rows, &zero, &columns]);
            });
        });
        return t.into_string();
    }
    if let Some(thin) = plan.thin {
        let thin = ThinDriver { driver: &driver, thin };
        thin.helpers(&mut t, shared);
        t.func(name, access, &driver.parameters(), |t| {
            let operands = driver.pointers(t);
            thin.body(t, &operands);
        });
        return t.into_string();
    }
    for packed in driver.packed().into_iter().map(|(_, p)| p) {
        shared.entry(packed.pack.name()).or_insert_with(|| packed.pack.emit());
    }
    for version in driver.versions() {
        let micro = plan.micro(version);
        shared.entry(micro.name()).or_insert_with(|| micro.emit());
    }
    for (which, packed) in driver.packed() {
        driver.pack_function(&mut t, which, packed);
    }
    match plan.places {
        None => driver.block_function(&mut t),
        Some(_) => driver.adding_function(&mut t, shared),
    }
    if plan.over_batch {
        driver.element_function(&mut t);
    }
    t.func(name, access, &driver.parameters(), |t| driver.body(t));
    t.into_string()
}

/// Writer of one contraction's functions.
pub(super) struct Driver<'a> {
    pub name: &'a str,
    pub plan: &'a Plan,
    pub after: Option<&'a After>,
}

/// Pointers to the canonical operands' first elements.
pub(super) struct Pointers {
    pub left: Val,
    pub right: Val,
    pub at: Option<Val>,
    pub out: Val,
    scratch: Val,
    /// Buffers of what comes after.
    pub after: Vec<Val>,
}

impl Pointers {
    fn named(with_at: bool, after: usize) -> Self {
        let [left, right, out, scratch] = ["%left", "%right", "%out", "%scratch"].map(String::from);
        let after = (0..after).map(later).collect();
        Self { left, right, at: with_at.then(|| "%at".into()), out, scratch, after }
    }

    fn list(&self) -> Vec<&str> {
        let mut list =
            [&self.left, &self.right, &self.out, &self.scratch].map(String::as_str).to_vec();
        list.extend(self.at.as_deref());
        list.extend(self.after.iter().map(String::as_str));
        list
    }
}

/// Name of a buffer of what comes after.
fn later(i: usize) -> Val {
    format!("%after{i}")
}

impl Driver<'_> {
    pub fn versions(&self) -> Vec<Version> {
        match self.plan.spec.arith {
            Arith::Float => vec![Version::Fused],
            Arith::Pam => versions(self.plan.slope_of.is_some()).to_vec(),
        }
    }

    fn packed(&self) -> Vec<(&'static str, &Packed)> {
        let mut list = vec![("a", &self.plan.left), ("b", &self.plan.right)];
        list.extend(self.plan.at.as_ref().map(|p| ("at", p)));
        list
    }

    fn parameters(&self) -> Vec<(String, String)> {
        let float = |len: usize| format!("memref<{len}xf32>");
        let own = self.plan.parameters.iter().map(|&len| float(len));
        let types = own.chain(self.later()).chain([float(self.plan.scratch_len())]);
        types.enumerate().map(|(i, ty)| (format!("%arg{i}"), ty)).collect()
    }

    /// Types of the buffers of what comes after.
    fn later(&self) -> Vec<String> {
        self.after.map_or_else(Vec::new, |after| after.params.clone())
    }

    /// Those buffers as parameters of a helper.
    pub fn later_arguments(&self) -> Vec<(String, String)> {
        self.later().into_iter().enumerate().map(|(i, ty)| (later(i), ty)).collect()
    }

    /// Does what comes after to a part of the output of a batch element: from row to row and from
    /// column to column, as the kernels have them.
    pub fn finish(&self, t: &mut Text, buffers: &[Val], element: &str, part: [&str; 4]) {
        let Some(after) = self.after else { return };
        let (spec, [a, b, c, d]) = (&self.plan.spec, part);
        let (rows, [top, bottom, left, right]) = match self.plan.swapped {
            true => (spec.n, [c, d, a, b]),
            false => (spec.m, part),
        };
        let before = t.i64_op("muli", element, rows as i64);
        let [top, bottom] = [top, bottom].map(|row| t.bin("addi", &before, row, "i64"));
        let part = [&top, &bottom, left, right];
        let part = part.map(|i| t.def(&format!("arith.index_cast {i} : i64 to index")));
        let values: Vec<&str> = buffers.iter().chain(&part).map(String::as_str).collect();
        let types = after.params.iter().map(String::as_str).chain(["index"; 4]);
        t.call(&after.function, &values, &types.collect::<Vec<_>>());
    }

    fn pointers(&self, t: &mut Text) -> Pointers {
        let mut parameters = self.parameters();
        let own = self.plan.parameters.len();
        let after = parameters.drain(own..parameters.len() - 1).map(|(name, _)| name).collect();
        let mut list: Vec<Val> = parameters.iter().map(|(v, ty)| t.pointer(v, ty)).collect();
        if self.plan.swapped {
            list.swap(0, 1);
        }
        let spec = &self.plan.spec;
        let mut rest = list.split_off(2).into_iter();
        let mut view = |p: &str, operand: &Operand| t.at_const(p, operand.offset);
        let left = view(&list[0], &spec.a);
        let right = view(&list[1], &spec.b);
        let at = match &spec.kind {
            super::Kind::Product => None,
            super::Kind::Slope { at } => rest.next().map(|p| view(&p, at)),
        };
        let out = rest.next().map(|p| view(&p, &spec.out)).unwrap_or_default();
        Pointers { left, right, at, out, scratch: rest.next().unwrap_or_default(), after }
    }

    pub fn helper(&self, what: &str) -> String {
        format!("{}_{what}", self.name)
    }

    /// `name_pack_x(source, panels, facts, start, task)`: of the panels from `start` on that are held
    /// together, packs panel `task mod held` of chunk `task / held`.
    fn pack_function(&self, t: &mut Text, which: &str, packed: &Packed) {
        let tables = packed.tables.iter().flat_map(|_| [("%across", POINTER), ("%down", POINTER)]);
        let args = [("%src", POINTER), ("%panels", POINTER), ("%facts", POINTER)]
            .into_iter()
            .chain(tables)
            .chain([("%start", "i64"), ("%task", "i64")]);
        let args: Vec<_> = args.map(|(n, ty)| (n.to_string(), ty.to_string())).collect();
        t.func(&self.helper(&format!("pack_{which}")), Access::Internal, &args, |t| {
            let held = packed.held as i64;
            let chunk = t.i64_op("divui", "%task", held);
            let panel = t.i64_op("remui", "%task", held);
            let panel = t.bin("addi", "%start", &panel, "i64");
            if packed.panels.is_multiple_of(packed.held.max(1)) {
                return self.pack_panel(t, which, packed, [&chunk, &panel]);
            }
            let panels = t.i64(packed.panels as i64);
            let inside = t.def(&format!("arith.cmpi slt, {panel}, {panels} : i64"));
            let some = |t: &mut Text| {
                self.pack_panel(t, which, packed, [&chunk, &panel]);
                Vec::new()
            };
            t.branch(&inside, &[], some, |_| Vec::new());
        });
    }

    /// Calls the packing function for a panel of a chunk.
    fn pack_panel(&self, t: &mut Text, which: &str, packed: &Packed, [chunk, panel]: [&str; 2]) {
        let width = packed.pack.width as i64;
        let first = t.i64_op("muli", panel, width);
        let extent = t.i64(packed.extent as i64);
        let left = t.bin("subi", &extent, &first, "i64");
        let width = t.i64(width);
        let valid = t.bin("minsi", &left, &width, "i64");
        let depth = if which == "at" { t.i64(self.plan.at_depth()) } else { self.depth(t, chunk) };
        let to = t.i64_op("muli", "%task", packed.slot as i64);
        let to = t.at("%panels", &to);
        let facts = t.i64_op("muli", "%task", packed.pack.facts() as i64);
        let facts = t.at("%facts", &facts);
        if packed.tables.is_some() {
            let across = t.at("%across", &first);
            let down = t.i64_op("muli", chunk, CHUNK as i64);
            let down = t.at("%down", &down);
            let values = ["%src", &across, &depth, &down, &to, &facts];
            return t.call(&packed.pack.name(), &values, packed.pack.types());
        }
        let (sw, sk) = packed.strides;
        let [across, down] =
            [t.i64_op("muli", &first, sw), t.i64_op("muli", chunk, sk * CHUNK as i64)];
        let from = t.bin("addi", &across, &down, "i64");
        let from = t.at("%src", &from);
        let [sw, sk] = [sw, sk].map(|s| t.i64(s));
        let values = [&from, &valid, &depth, &sw, &sk, &to, &facts].map(String::as_str);
        t.call(&packed.pack.name(), &values, packed.pack.types());
    }

    /// Terms in a chunk.
    pub fn depth(&self, t: &mut Text, chunk: &str) -> Val {
        let done = t.i64_op("muli", chunk, CHUNK as i64);
        let k = t.i64(self.plan.spec.k as i64);
        let left = t.bin("subi", &k, &done, "i64");
        let full = t.i64(CHUNK as i64);
        t.bin("minsi", &left, &full, "i64")
    }

    fn body(&self, t: &mut Text) {
        let plan = self.plan;
        let operands = self.pointers(t);
        let zero = t.i64(0);
        let packed = self.packed().into_iter().filter_map(|(_, p)| p.tables.as_ref());
        for table in packed.chain(&plan.places).flatten() {
            table.fill(t, &operands.scratch);
        }
        for (which, packed) in self.packed().into_iter().filter(|(_, p)| p.copy == 0) {
            self.pack(t, (which, packed), &operands, [&zero, &zero, &zero], plan.parallel);
        }
        let batch = plan.batch() as i64;
        if !plan.over_batch {
            return t.each(false, batch, |t, element| {
                self.element(t, &operands, [element, &zero], plan.parallel);
            });
        }
        // Elements one after the other share a copy, whose panels then stay in a cache.
        let copies = plan.copies as i64;
        let share = t.i64(plan.batch().div_ceil(plan.copies) as i64);
        t.each(plan.parallel, copies, |t, copy| {
            let start = t.bin("muli", copy, &share, "i64");
            let end = t.bin("addi", &start, &share, "i64");
            let batch = t.i64(batch);
            let end = t.bin("minsi", &end, &batch, "i64");
            t.loop_with([&start, &end], 1, &[], |t, element, _| {
                self.call_element(t, &operands, element, copy);
                Vec::new()
            });
        });
    }

    /// `name_element(operands…, element, copy)`: all of one batch element, on one thread.
    fn element_function(&self, t: &mut Text) {
        let later = self.later();
        let operands = Pointers::named(self.plan.at.is_some(), later.len());
        let names = operands.list();
        let types = (later.len()..names.len()).map(|_| POINTER.to_string()).chain(later);
        let mut args: Vec<_> = names.into_iter().map(String::from).zip(types).collect();
        args.extend(["%element", "%copy"].map(|n| (n.to_string(), "i64".to_string())));
        t.func(&self.helper("element"), Access::Internal, &args, |t| {
            self.element(t, &operands, ["%element", "%copy"], false);
        });
    }

    fn call_element(&self, t: &mut Text, operands: &Pointers, element: &str, copy: &str) {
        let args: Vec<&str> = operands.list().into_iter().chain([element, copy]).collect();
        let later = self.later();
        let own = (0..args.len() - 2 - later.len()).map(|_| POINTER);
        let types = own.chain(later.iter().map(String::as_str)).chain(["i64", "i64"]);
        let types: Vec<&str> = types.collect();
        t.call(&self.helper("element"), &args, &types);
    }

    /// One batch element: packs what is its own, then computes all blocks; or packs the columns of each
    /// block when it comes to it, which are then still in a near cache.
    fn element(&self, t: &mut Text, operands: &Pointers, at: [&str; 2], parallel: bool) {
        let plan = self.plan;
        let own = self.packed().into_iter().filter(|(_, p)| p.copy != 0);
        let (whole, by_block): (Vec<_>, Vec<_>) = own.partition(|(_, p)| p.held == p.panels);
        let zero = t.i64(0);
        for packed in whole {
            self.pack(t, packed, operands, [at[0], at[1], &zero], parallel);
        }
        let mut args = Vec::new();
        for packed in [&plan.left, &plan.right] {
            args.extend(places(t, packed, &operands.scratch, at[1]));
        }
        let out = batch_offset(t, plan, &plan.spec.out, at[0]);
        args.push(t.at(&operands.out, &out));
        if let Some(packed) = &plan.at {
            args.push(places(t, packed, &operands.scratch, at[1])[0].clone());
        }
        if let Some([rows, _]) = &plan.places {
            args.push(t.at_const(&operands.scratch, rows.offset as i64));
        }
        if self.after.is_some() {
            args.extend(operands.after.iter().cloned());
            args.push(at[0].to_string());
        }
        let types: Vec<String> = self.block_arguments().into_iter().map(|(_, ty)| ty).collect();
        let types: Vec<&str> = types.iter().map(String::as_str).collect();
        let (down, across) = self.blocks();
        t.each(parallel, down * across, |t, task| {
            for (which, packed) in by_block {
                let start = t.i64_op("muli", task, packed.held as i64);
                self.pack(t, (which, packed), operands, [at[0], at[1], &start], false);
            }
            let args: Vec<&str> = args.iter().map(String::as_str).chain([task]).collect();
            t.call(&self.helper("block"), &args, &types);
        });
    }

    /// Packs the panels from `start` on that are held together.
    fn pack(
        &self,
        t: &mut Text,
        (which, packed): (&str, &Packed),
        operands: &Pointers,
        [element, copy, start]: [&str; 3],
        parallel: bool,
    ) {
        let spec = &self.plan.spec;
        let (pointer, operand) = match (which, &operands.at, &spec.kind) {
            ("a", ..) => (&operands.left, &spec.a),
            ("at", Some(pointer), super::Kind::Slope { at }) => (pointer, at),
            _ => (&operands.right, &spec.b),
        };
        let offset = batch_offset(t, self.plan, operand, element);
        let source = t.at(pointer, &offset);
        let [panels, facts] = places(t, packed, &operands.scratch, copy);
        let chunks = if which == "at" { 1 } else { self.plan.chunks() };
        let tables = packed.tables.iter().flatten();
        let tables: Vec<Val> =
            tables.map(|table| t.at_const(&operands.scratch, table.offset as i64)).collect();
        let types = (0..3 + tables.len()).map(|_| POINTER).chain(["i64"; 2]);
        let types: Vec<&str> = types.collect();
        let name = self.helper(&format!("pack_{which}"));
        t.each(parallel, (packed.held * chunks) as i64, |t, task| {
            let args = [&source, &panels, &facts].into_iter().chain(&tables).map(String::as_str);
            let args: Vec<&str> = args.chain([start, task]).collect();
            t.call(&name, &args, &types);
        });
    }
}

/// Where a packed operand's panels and facts lie for a copy.
fn places(t: &mut Text, packed: &Packed, scratch: &str, copy: &str) -> [Val; 2] {
    let by_copy = t.i64_op("muli", copy, packed.copy as i64);
    let base = t.at(scratch, &by_copy);
    [packed.offset, packed.facts].map(|at| t.at_const(&base, at as i64))
}

/// Elements from an operand's start to a batch element, counted in row-major order.
pub(super) fn batch_offset(t: &mut Text, plan: &Plan, operand: &Operand, element: &str) -> Val {
    let mut rest = element.to_string();
    let mut offset = t.i64(0);
    for (&size, &stride) in plan.spec.batch.iter().zip(&operand.strides).rev() {
        let index = t.i64_op("remui", &rest, size as i64);
        rest = t.i64_op("divui", &rest, size as i64);
        let step = t.i64_op("muli", &index, stride);
        offset = t.bin("addi", &offset, &step, "i64");
    }
    offset
}
