//! The values of registers in one routine.

use super::*;

pub(super) struct Block {
    pub(super) end: usize,
    pub(super) predecessors: Vec<usize>,
}

/// A routine while its chains are made.
pub(super) struct Body {
    pub(super) blocks: Vec<Block>,
    pub(super) block_of: Vec<usize>,
    // Per block and register, the writes in order.
    pub(super) definitions: HashMap<(usize, Reg), Vec<(usize, Value)>>,
    pub(super) phis: HashMap<(usize, Reg), Value>,
    pub(super) pending: Vec<(usize, Reg)>,
    pub(super) entries: BTreeMap<Reg, Value>,
    pub(super) results: HashMap<Reg, Value>,
}

impl Body {
    pub(super) fn new(code: &[Instruction]) -> Self {
        let at: HashMap<u64, usize> = code.iter().enumerate().map(|(i, c)| (c.place, i)).collect();
        let mut leaders: HashSet<usize> = HashSet::from([0]);
        // A jump that is computed without a table may lead to any instruction.
        let anywhere = code.iter().any(|c| c.control == Control::Indirect);
        if anywhere {
            leaders.extend(0..code.len());
        }
        for (i, c) in code.iter().enumerate() {
            if let Control::Jump(to) | Control::Branch(to) = &c.control {
                leaders.extend(at.get(to));
            }
            if let Control::Table(targets) = &c.control {
                leaders.extend(targets.iter().filter_map(|to| at.get(to)));
            }
            if !matches!(c.control, Control::Next | Control::Call(_)) {
                leaders.insert(i + 1);
            }
        }
        let mut starts: Vec<usize> = leaders.into_iter().filter(|s| *s < code.len()).collect();
        starts.sort_unstable();
        let mut blocks = Vec::new();
        let mut block_of = vec![0; code.len()];
        for (b, &start) in starts.iter().enumerate() {
            let end = starts.get(b + 1).copied().unwrap_or(code.len());
            block_of[start..end].fill(b);
            blocks.push(Block { end, predecessors: Vec::new() });
        }
        for b in 0..blocks.len() {
            let last = blocks[b].end - 1;
            let next = (b + 1 < blocks.len()).then_some(b + 1);
            let target = |to| at.get(to).map(|i| block_of[*i]);
            let successors: Vec<Option<usize>> = match &code[last].control {
                Control::Next | Control::Call(_) => vec![next],
                Control::Jump(to) => vec![target(to)],
                Control::Branch(to) => vec![next, target(to)],
                Control::Table(targets) => targets.iter().map(target).collect(),
                Control::Indirect => (0..blocks.len()).map(Some).collect(),
                _ => Vec::new(),
            };
            for successor in successors.into_iter().flatten() {
                blocks[successor].predecessors.push(b);
            }
        }
        Self {
            blocks,
            block_of,
            definitions: HashMap::new(),
            phis: HashMap::new(),
            pending: Vec::new(),
            entries: BTreeMap::new(),
            results: HashMap::new(),
        }
    }

    /// Records that instruction `i` leaves `value` in a register.
    pub(super) fn define(&mut self, i: usize, reg: Reg, value: Value) {
        self.definitions.entry((self.block_of[i], reg)).or_default().push((i, value));
    }

    /// The value of a register just before instruction `i`.
    pub(super) fn read(&mut self, flow: &mut Flow, i: usize, reg: Reg) -> Value {
        let block = self.block_of[i];
        self.read_in(flow, block, i, reg)
    }

    pub(super) fn read_in(
        &mut self,
        flow: &mut Flow,
        block: usize,
        before: usize,
        reg: Reg,
    ) -> Value {
        if let Some(list) = self.definitions.get(&(block, reg)) {
            let end = list.partition_point(|d| d.0 < before);
            if end > 0 {
                return list[end - 1].1;
            }
        }
        *self.phis.entry((block, reg)).or_insert_with(|| {
            self.pending.push((block, reg));
            flow.value(Source::Operands)
        })
    }

    /// Connects every phi to what its predecessors leave.
    pub(super) fn settle(&mut self, flow: &mut Flow) {
        while let Some((block, reg)) = self.pending.pop() {
            let phi = self.phis[&(block, reg)];
            if block == 0 {
                let entry = self.entries.entry(reg).or_insert_with(|| flow.value(Source::Operands));
                flow.copy(*entry, phi);
            }
            for p in self.blocks[block].predecessors.clone() {
                let end = self.blocks[p].end;
                let value = self.read_in(flow, p, end, reg);
                flow.copy(value, phi);
            }
        }
    }
}
