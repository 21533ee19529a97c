//! x86-64's tables of jumps: where a computed jump may lead.
//!
//! An entry is the distance of its target from the start of the table, which code computes by `lea`.
//! The entries of all tables that lead into a function are taken to be targets of each of its computed
//! jumps.

use super::{Disassembler, place, x86};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionIndex, SectionKind};
use std::collections::BTreeSet;

fn is_table(kind: SectionKind) -> bool {
    use SectionKind::{Data, ReadOnlyData, ReadOnlyDataWithRel, ReadOnlyString};
    // A linker may put constants that are no strings among strings.
    matches!(kind, Data | ReadOnlyData | ReadOnlyDataWithRel | ReadOnlyString)
}

/// Targets in a relocatable file, whose entries are relocations.
pub(super) fn of_relocatable(file: &object::File) -> BTreeSet<u64> {
    // What `lea` refers to in sections of data: the starts of tables, among others.
    const LEA: u8 = 0x8d;
    let mut starts: BTreeSet<(usize, u64)> = BTreeSet::new();
    for section in file.sections().filter(|s| s.kind() == SectionKind::Text) {
        let Ok(bytes) = section.data() else { continue };
        for (offset, relocation) in section.relocations() {
            let opcode = offset.checked_sub(2).and_then(|at| bytes.get(at as usize));
            if opcode == Some(&LEA)
                && let Some((index, address)) = resolved(file, &relocation)
            {
                // The addend counts from the end of the instruction, four bytes on.
                starts.insert((index.0, address.wrapping_add(4)));
            }
        }
    }
    let mut targets = BTreeSet::new();
    for section in file.sections().filter(|s| is_table(s.kind())) {
        for (offset, relocation) in section.relocations() {
            let Some((index, address)) = resolved(file, &relocation) else { continue };
            let text = file.section_by_index(index).is_ok_and(|s| s.kind() == SectionKind::Text);
            if !text {
                continue;
            }
            let own = section.index().0;
            let start = starts.range((own, 0)..=(own, offset)).next_back();
            let into = start.map_or(0, |(_, start)| offset - start);
            targets.insert(place(index, address.wrapping_sub(into)));
        }
    }
    targets
}

/// Section and address that a relocation refers to.
fn resolved(file: &object::File, relocation: &object::Relocation) -> Option<(SectionIndex, u64)> {
    let RelocationTarget::Symbol(symbol) = relocation.target() else { return None };
    let symbol = file.symbol_by_index(symbol).ok()?;
    let address = symbol.address().wrapping_add_signed(relocation.addend());
    Some((symbol.section_index()?, address))
}

/// Targets in a linked file, whose entries are numbers after an address that code computes.
pub(super) fn of_linked(
    file: &object::File,
    disassembler: &Disassembler,
    locate: impl Fn(u64) -> Option<u64>,
) -> BTreeSet<u64> {
    let mut starts = BTreeSet::new();
    for section in file.sections().filter(|s| s.kind() == SectionKind::Text) {
        let (Ok(bytes), start) = (section.data(), section.address()) else { continue };
        let mut offset = 0;
        while offset < bytes.len() {
            let Some((length, text)) = disassembler.decode(&bytes[offset..], 0) else {
                offset += disassembler.step();
                continue;
            };
            let at = start + offset as u64;
            offset += length;
            starts.extend(relative(&text, at + length as u64));
        }
    }
    let mut targets = BTreeSet::new();
    for section in file.sections().filter(|s| is_table(s.kind())) {
        let (Ok(bytes), first) = (section.data(), section.address()) else { continue };
        let end = first + bytes.len() as u64;
        for &start in starts.range(first..end) {
            let next = starts.range(start + 1..end).next().copied().unwrap_or(end);
            let entries = bytes[(start - first) as usize..(next - first) as usize].chunks_exact(4);
            for entry in entries.map_while(|e| Some(i32::from_le_bytes(e.try_into().ok()?))) {
                match locate(start.wrapping_add_signed(entry.into())) {
                    Some(target) => targets.insert(target),
                    None => break,
                };
            }
        }
    }
    targets
}

/// The address that `lea` computes.
fn relative(text: &str, next: u64) -> Option<u64> {
    let operand = text.strip_prefix("leaq")?.trim().split("(%rip)").next()?;
    Some(next.wrapping_add(x86::number(operand)? as u64))
}
