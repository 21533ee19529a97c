//! x86-64's tables of jumps: where a computed jump may lead.
//!
//! An entry is the distance of its target from the start of the table. All entries of all tables in
//! the file are taken to be targets of every computed jump of the function they lie in, which is more
//! than can happen and never less.

use super::{Disassembler, place, x86};
use object::{Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionIndex, SectionKind};
use std::collections::BTreeSet;

fn is_table(kind: SectionKind) -> bool {
    matches!(kind, SectionKind::ReadOnlyData | SectionKind::ReadOnlyDataWithRel | SectionKind::Data)
}

/// Targets in a relocatable file, whose entries are relocations.
pub(super) fn of_relocatable(file: &object::File) -> BTreeSet<u64> {
    // Where code refers to in sections of data: the starts of tables, among others.
    let mut starts: BTreeSet<(usize, u64)> = BTreeSet::new();
    for section in file.sections().filter(|s| s.kind() == SectionKind::Text) {
        for (_, relocation) in section.relocations() {
            if let Some((index, address)) = resolved(file, &relocation) {
                // The addend of x86 counts from the end of the instruction.
                starts.extend([(index.0, address), (index.0, address.wrapping_add(4))]);
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
            for (_, start) in starts.range((own, 0)..=(own, offset)) {
                let target = address.wrapping_sub(offset - start);
                targets.insert(place(index, target));
            }
            targets.insert(place(index, address));
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
            let entries = bytes[(start - first) as usize..].chunks_exact(4);
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
