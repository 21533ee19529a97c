//! x86-64's tables of jumps: where a computed jump may lead.
//!
//! An entry is the distance of its target from the start of the table, which code computes by `lea`. The
//! table of a jump is the one that the base register of the load before it was last set to; if that
//! cannot be told, the entries of all tables that lead into the function are its targets.

use super::{
    Disassembler, place,
    stack::{Decoded, Memory},
    x86,
};
use crate::audit::machine::Control;
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionIndex, SectionKind};
use std::collections::{BTreeMap, BTreeSet};

/// Section and address of a table.
type Start = (usize, u64);

/// The tables of a file.
#[derive(Default)]
pub(super) struct Tables {
    // What code refers to, by the place of the instruction or of the bytes relocated in it.
    references: BTreeMap<u64, Start>,
    targets: BTreeMap<Start, BTreeSet<u64>>,
}

fn is_table(kind: SectionKind) -> bool {
    use SectionKind::{Data, ReadOnlyData, ReadOnlyDataWithRel, ReadOnlyString};
    // A linker may put constants that are no strings among strings.
    matches!(kind, Data | ReadOnlyData | ReadOnlyDataWithRel | ReadOnlyString)
}

impl Tables {
    /// The tables of a relocatable file, whose entries are relocations.
    pub(super) fn of_relocatable(file: &object::File) -> Tables {
        const LEA: u8 = 0x8d;
        let mut tables = Tables::default();
        for section in file.sections().filter(|s| s.kind() == SectionKind::Text) {
            let Ok(bytes) = section.data() else { continue };
            for (offset, relocation) in section.relocations() {
                let opcode = offset.checked_sub(2).and_then(|at| bytes.get(at as usize));
                if opcode == Some(&LEA)
                    && let Some((index, address)) = resolved(file, &relocation)
                {
                    // The addend counts from the end of the instruction, four bytes on.
                    let start = (index.0, address.wrapping_add(4));
                    tables.references.insert(place(section.index(), offset), start);
                }
            }
        }
        let starts: BTreeSet<Start> = tables.references.values().copied().collect();
        for section in file.sections().filter(|s| is_table(s.kind())) {
            for (offset, relocation) in section.relocations() {
                let Some((index, address)) = resolved(file, &relocation) else { continue };
                if !file.section_by_index(index).is_ok_and(|s| s.kind() == SectionKind::Text) {
                    continue;
                }
                let own = section.index().0;
                if let Some(start) = starts.range((own, 0)..=(own, offset)).next_back() {
                    let target = place(index, address.wrapping_sub(offset - start.1));
                    tables.targets.entry(*start).or_default().insert(target);
                }
            }
        }
        tables
    }

    /// The tables of a linked file, whose entries are numbers.
    pub(super) fn of_linked(
        file: &object::File,
        disassembler: &Disassembler,
        locate: impl Fn(u64) -> Option<u64>,
    ) -> Tables {
        let mut tables = Tables::default();
        for section in file.sections().filter(|s| s.kind() == SectionKind::Text) {
            let Ok(bytes) = section.data() else { continue };
            let mut offset = 0;
            while offset < bytes.len() {
                let Some((length, text)) = disassembler.decode(&bytes[offset..], 0) else {
                    offset += disassembler.step();
                    continue;
                };
                let at = section.address() + offset as u64;
                offset += length;
                if let Some(start) = relative(&text, at + length as u64) {
                    tables.references.insert(place(section.index(), at), (0, start));
                }
            }
        }
        let starts: BTreeSet<u64> = tables.references.values().map(|s| s.1).collect();
        for section in file.sections().filter(|s| is_table(s.kind())) {
            let (Ok(bytes), first) = (section.data(), section.address()) else { continue };
            let end = first + bytes.len() as u64;
            for &start in starts.range(first..end) {
                let next = starts.range(start + 1..end).next().copied().unwrap_or(end);
                let entries = &bytes[(start - first) as usize..(next - first) as usize];
                let targets: BTreeSet<u64> = entries
                    .chunks_exact(4)
                    .map_while(|e| Some(i32::from_le_bytes(e.try_into().ok()?)))
                    .map_while(|entry| locate(start.wrapping_add_signed(entry.into())))
                    .collect();
                if !targets.is_empty() {
                    tables.targets.insert((0, start), targets);
                }
            }
        }
        tables
    }

    /// Gives the computed jumps of a function their targets.
    pub(super) fn apply(&self, mut code: Vec<Decoded>) -> Vec<Decoded> {
        let (Some(first), Some(last)) = (code.first(), code.last()) else { return code };
        let range = first.instruction.place..=last.instruction.place;
        let all: BTreeSet<u64> =
            self.targets.values().flatten().filter(|t| range.contains(t)).copied().collect();
        if all.is_empty() {
            return code;
        }
        for jump in 0..code.len() {
            if code[jump].instruction.control == Control::Indirect {
                let targets = self.table(&code, jump).unwrap_or(&all).iter().copied().collect();
                code[jump].instruction.control = Control::Table(targets);
            }
        }
        code
    }

    /// The targets of the table that the load before a jump reads.
    fn table(&self, code: &[Decoded], jump: usize) -> Option<&BTreeSet<u64>> {
        let load = code[..jump].iter().rposition(|d| {
            d.instruction.name.starts_with("movslq")
                && matches!(d.memory, Some(Memory { base: Some(_), index: Some(_), .. }))
        })?;
        let base = code[load].memory?.base?;
        let set = code[..load].iter().rposition(|d| d.instruction.writes.contains(&base))?;
        let from = code[set].instruction.place;
        let next = code.get(set + 1)?.instruction.place;
        let (_, start) = self.references.range(from..next).next()?;
        self.targets.get(start)
    }
}

/// Section and address that a relocation refers to.
fn resolved(file: &object::File, relocation: &object::Relocation) -> Option<(SectionIndex, u64)> {
    let RelocationTarget::Symbol(symbol) = relocation.target() else { return None };
    let symbol = file.symbol_by_index(symbol).ok()?;
    let address = symbol.address().wrapping_add_signed(relocation.addend());
    Some((symbol.section_index()?, address))
}

/// The address that `lea` computes.
pub(super) fn relative(text: &str, next: u64) -> Option<u64> {
    let operand = text.strip_prefix("leaq")?.trim().split("(%rip)").next()?;
    Some(next.wrapping_add(x86::number(operand)? as u64))
}
