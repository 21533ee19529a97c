//! Vectors of elements that lie where a table says: mostly side by side, or in two such runs.

use super::text::{Lanes, Text, Val};

/// The places of a vector's lanes, relative to some element, and how they lie.
pub(super) struct Spread {
    lanes: Lanes,
    places: Val,
    /// Place of the first lane, and what the place of lane 0 would be in the run that ends in the last.
    starts: [Val; 2],
    /// Lanes of either run.
    masks: [Val; 2],
    /// Whether all lanes are of the first run, and whether all are of one or the other.
    one: Val,
    two: Val,
}

/// How a vector is reached.
#[derive(Clone, Copy)]
pub(super) enum Way {
    Run,
    TwoRuns,
    Each,
}

impl Spread {
    /// Of the places at `table`.
    pub fn new(t: &mut Text, table: &str, lanes: Lanes) -> Spread {
        let places = t.load(table, &lanes.int());
        if lanes.0 == 1 {
            let start = t.def(&format!("arith.extsi {places} : i32 to i64"));
            let yes = t.flag(true);
            let [starts, masks] = [[start.clone(), start], [yes.clone(), yes.clone()]];
            return Spread { lanes, places, starts, masks, one: yes.clone(), two: yes };
        }
        let last = lanes.0 - 1;
        let counts = t.counts(lanes);
        let ends = [0, last]
            .map(|at| t.def(&format!("vector.extract {places}[{at}] : i32 from {}", lanes.int())));
        let before = t.bits(last as u32, Lanes(1));
        let starts = [ends[0].clone(), t.ints("subi", &ends[1], &before, Lanes(1))];
        let masks = [0, 1].map(|i| {
            let start = t.broadcast(&starts[i], lanes);
            let run = t.ints("addi", &start, &counts, lanes);
            t.cmp("eq", &places, &run, lanes)
        });
        let mask = lanes.mask();
        let either = t.bin("ori", &masks[0], &masks[1], &mask);
        let [one, two] = [&masks[0], &either]
            .map(|m| t.def(&format!("vector.reduction <and>, {m} : {mask} into i1")));
        let starts = starts.map(|s| t.def(&format!("arith.extsi {s} : i32 to i64")));
        Spread { lanes, places, starts, masks, one, two }
    }

    /// Takes lanes one by one unless `whole`.
    pub fn unless(mut self, t: &mut Text, whole: &str) -> Spread {
        [&mut self.one, &mut self.two].into_iter().for_each(|c| *c = t.bin("andi", c, whole, "i1"));
        self
    }

    /// Does `body` in the way that fits; it yields values of the given types.
    pub fn ways(
        &self,
        t: &mut Text,
        types: &[String],
        mut body: impl FnMut(&mut Text, Way) -> Vec<Val>,
    ) -> Vec<Val> {
        if self.lanes.0 == 1 {
            return body(t, Way::Run);
        }
        let body = std::cell::RefCell::new(&mut body);
        t.branch(
            &self.one,
            types,
            |t| (body.borrow_mut())(t, Way::Run),
            |t| {
                t.branch(
                    &self.two,
                    types,
                    |t| (body.borrow_mut())(t, Way::TwoRuns),
                    |t| (body.borrow_mut())(t, Way::Each),
                )
            },
        )
    }

    /// Loads the lanes as patterns.
    pub fn load(&self, t: &mut Text, base: &str, way: Way) -> Val {
        let (lanes, ty) = (self.lanes, self.lanes.int());
        match way {
            Way::Run => {
                let p = t.at(base, &self.starts[0]);
                t.load(&p, &ty)
            }
            Way::TwoRuns => {
                let mut x = t.bits(0, lanes);
                for (start, mask) in self.starts.iter().zip(&self.masks) {
                    let p = t.at(base, start);
                    x = t.def(&format!(
                        "llvm.intr.masked.load {p}, {mask}, {x} {{alignment = 4 : i32}} : \
                         (!llvm.ptr, {}, {ty}) -> {ty}",
                        lanes.mask()
                    ));
                }
                x
            }
            Way::Each => {
                let (all, none) = (t.all(lanes), t.bits(0, lanes));
                let places = self.pointers(t, base);
                t.def(&format!(
                    "llvm.intr.masked.gather {places}, {all}, {none} {{alignment = 4 : i32}} : \
                     (vector<{}x!llvm.ptr>, {}, {ty}) -> {ty}",
                    lanes.0,
                    lanes.mask()
                ))
            }
        }
    }

    /// Stores patterns. Only in the way of `Each` may some lanes not be `valid`.
    pub fn store(&self, t: &mut Text, value: &str, base: &str, way: Way, valid: &str) {
        let (lanes, ty) = (self.lanes, self.lanes.int());
        match way {
            Way::Run => {
                let p = t.at(base, &self.starts[0]);
                t.store(value, &p, &ty);
            }
            Way::TwoRuns => {
                for (start, mask) in self.starts.iter().zip(&self.masks) {
                    let p = t.at(base, start);
                    t.line(&format!(
                        "llvm.intr.masked.store {value}, {p}, {mask} {{alignment = 4 : i32}} : \
                         {ty}, {} into !llvm.ptr",
                        lanes.mask()
                    ));
                }
            }
            Way::Each => {
                let places = self.pointers(t, base);
                t.line(&format!(
                    "llvm.intr.masked.scatter {value}, {places}, {valid} {{alignment = 4 : i32}} : \
                     {ty}, {} into vector<{}x!llvm.ptr>",
                    lanes.mask(),
                    lanes.0
                ));
            }
        }
    }

    fn pointers(&self, t: &mut Text, base: &str) -> Val {
        let (lanes, ty) = (self.lanes.0, self.lanes.int());
        t.def(&format!(
            "llvm.getelementptr {base}[{}] : (!llvm.ptr, {ty}) -> vector<{lanes}x!llvm.ptr>, i32",
            self.places
        ))
    }
}
