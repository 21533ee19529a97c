//! ELF objects, shared libraries and executables for x86-64 and AArch64, through LLVM's disassembler.

mod aarch64;
mod classify;
mod convention;
mod disassemble;
mod index;
mod stack;
mod tables;
mod x86;

pub(super) use classify::is_arithmetic_call;
pub(super) use disassemble::Disassembler;

use super::{
    Nodes, Report, calls,
    flow::{Flow, Role},
    machine::{self, Address, Callee, Control, Convention, Reg, Routine},
};
use crate::{Error, codegen::Arch};
use convention::Native;
use object::{
    Architecture, Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget,
    SectionIndex, SectionKind, elf,
};
use stack::{CAPTURED, Decoded, Frame, Spot};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tables::Tables;

/// Audits one ELF file.
pub(super) fn audit(bytes: &[u8]) -> Result<Report, Error> {
    let file = object::File::parse(bytes)?;
    let arch = match file.architecture() {
        Architecture::X86_64 => Arch::X86_64,
        Architecture::Aarch64 => Arch::Aarch64,
        other => {
            let message = format!("code for {other:?} is not understood");
            return Err(Error::Llvm { stage: "disassemble", message });
        }
    };
    let mut image = Image::new(&file)?;
    let disassembler = Disassembler::new(arch)?;
    let mut undecoded = 0;
    let mut sections = Vec::new();
    for section in file.sections().filter(|s| s.kind() == SectionKind::Text) {
        let place = place(section.index(), section.address());
        let plt = section.name().unwrap_or_default().starts_with(".plt");
        let code = image.decode(arch, &disassembler, place, section.data()?, plt, &mut undecoded);
        sections.push((code, plt));
    }
    // AArch64's entries are shorter and of several forms: its computed jumps stay unknown.
    if arch == Arch::X86_64 {
        image.tables = match image.linked {
            true => Tables::of_linked(&file, &disassembler, |address| image.locate(address)),
            false => Tables::of_relocatable(&file),
        };
    }
    let (routines, calls) = image.routines(arch, sections);
    let mut flow = Flow::default();
    let convention = Native { arch, calls };
    let mut findings = machine::build(&routines, &convention, &mut flow);
    findings.extend(flow.judge());
    let mut report = Report { functions: flow.functions, findings, undecoded, ..Report::default() };
    Nodes::of_elf(bytes)?.attribute(&mut report);
    Ok(report)
}

/// An address that is unique over the sections of a relocatable file.
fn place(section: SectionIndex, address: u64) -> u64 {
    (section.0 as u64) << 40 | address
}

/// What names, relocations and dynamic symbols say.
struct Image {
    // Functions by place: name and whether others can call it.
    functions: BTreeMap<u64, (String, bool)>,
    // Targets by the place of the relocated bytes.
    relocations: HashMap<u64, Target>,
    // Symbols by the slot of the global offset table that holds their address.
    imports: HashMap<u64, Target>,
    // First address, end and place of the first byte of each code section of a linked file.
    sections: Vec<(u64, u64, u64)>,
    // Functions whose address data hold.
    listed: BTreeSet<u64>,
    // What the instruction at a place adds to an address to have a symbol's.
    addresses: HashMap<u64, u64>,
    linked: bool,
    tables: Tables,
}

#[derive(Clone)]
enum Target {
    Inside(u64),
    Outside(String),
}

impl Image {
    fn new(file: &object::File) -> Result<Self, Error> {
        let linked = file.kind() != object::ObjectKind::Relocatable;
        let mut functions = BTreeMap::new();
        let text: Vec<_> = file.sections().filter(|s| s.kind() == SectionKind::Text).collect();
        let is_text = |i: Option<SectionIndex>| text.iter().any(|s| Some(s.index()) == i);
        for symbol in file.symbols().chain(file.dynamic_symbols()) {
            let Some(section) = symbol.section_index().filter(|i| is_text(Some(*i))) else {
                continue;
            };
            let name = symbol.name().unwrap_or_default();
            let function = symbol.kind() == object::SymbolKind::Text;
            if !function || name.is_empty() || name.starts_with('$') {
                continue;
            }
            let entry = functions
                .entry(place(section, symbol.address()))
                .or_insert_with(|| (name.to_owned(), false));
            entry.1 |= symbol.is_global();
        }
        let mut image = Self {
            functions,
            relocations: HashMap::new(),
            imports: HashMap::new(),
            sections: Vec::new(),
            listed: BTreeSet::new(),
            addresses: HashMap::new(),
            linked,
            tables: Tables::default(),
        };
        for section in &text {
            let start = section.address();
            image.sections.push((start, start + section.size(), place(section.index(), start)));
            for (offset, relocation) in section.relocations() {
                let at = place(section.index(), offset);
                if let Some(target) = target(file, &relocation, &is_text) {
                    image.relocations.insert(at, target);
                } else if let RelocationFlags::Elf { r_type } = relocation.flags()
                    && [elf::R_AARCH64_ADD_ABS_LO12_NC, elf::R_AARCH64_ADR_PREL_LO21]
                        .contains(&r_type)
                {
                    image.addresses.extend(refers(file, &relocation).map(|to| (at, to)));
                }
            }
        }
        image.list(file);
        for (address, relocation) in file.dynamic_relocations().into_iter().flatten() {
            if let RelocationTarget::Symbol(index) = relocation.target()
                && let Some(table) = file.dynamic_symbol_table()
                && let Ok(symbol) = object::ObjectSymbolTable::symbol_by_index(&table, index)
            {
                // A function of the file may be called as if it were elsewhere.
                let target = match symbol.section_index().filter(|i| is_text(Some(*i))) {
                    Some(section) => Target::Inside(place(section, symbol.address())),
                    None => Target::Outside(symbol.name().unwrap_or_default().to_owned()),
                };
                image.imports.insert(address, target);
            }
        }
        Ok(image)
    }

    /// Notes the functions whose address stands in data.
    fn list(&mut self, file: &object::File) {
        for section in file.sections().filter(|s| s.kind() != SectionKind::Text) {
            let name = section.name().unwrap_or_default();
            if [".eh_frame", ".debug"].iter().any(|stem| name.starts_with(stem)) {
                continue;
            }
            self.listed.extend(section.relocations().filter_map(|(_, r)| refers(file, &r)));
        }
        for (_, relocation) in file.dynamic_relocations().into_iter().flatten() {
            if relocation.target() == RelocationTarget::Absolute {
                self.listed.extend(self.locate(relocation.addend() as u64));
            }
        }
    }

    /// The function whose address an instruction computes.
    fn function(
        &self,
        arch: Arch,
        at: u64,
        next: u64,
        text: &str,
        pages: &mut HashMap<Reg, u64>,
    ) -> Option<u64> {
        let to = match arch {
            Arch::X86_64 => {
                let relative = tables::relative(text, next)?;
                let relocated = (at..next).find_map(|place| self.relocations.get(&place));
                match relocated {
                    Some(Target::Inside(to)) => Some(*to),
                    Some(Target::Outside(_)) => None,
                    None => self.locate(relative),
                }
            }
            Arch::Aarch64 => match self.addresses.get(&at) {
                Some(to) => Some(*to),
                None => {
                    let page = aarch64::page(text, at & ((1 << 40) - 1), pages)?;
                    self.linked.then(|| self.locate(page)).flatten()
                }
            },
        };
        to.filter(|to| self.functions.contains_key(to))
    }

    /// The place of an address in a linked file, or within the same section of another.
    fn locate(&self, address: u64) -> Option<u64> {
        if !self.linked {
            return Some(address);
        }
        let address = address & ((1 << 40) - 1);
        let found = self.sections.iter().find(|s| (s.0..s.1).contains(&address))?;
        Some(found.2 + (address - found.0))
    }

    fn decode(
        &self,
        arch: Arch,
        disassembler: &Disassembler,
        start: u64,
        bytes: &[u8],
        plt: bool,
        undecoded: &mut usize,
    ) -> Vec<Decoded> {
        let mut out = Vec::new();
        let mut offset = 0;
        let mut page = 0;
        let mut pages = HashMap::new();
        while offset < bytes.len() {
            let at = start + offset as u64;
            let Some((length, text)) = disassembler.decode(&bytes[offset..], 0) else {
                let step = disassembler.step().min(bytes.len() - offset);
                *undecoded += step;
                offset += step;
                continue;
            };
            let next = at + length as u64;
            if arch == Arch::Aarch64 && plt {
                self.stub(at, &text, &mut page);
            }
            let import = self.import(next, &text, page, plt && arch == Arch::Aarch64);
            let call =
                |relative: Option<u64>| self.callee(at, next, relative, import.clone(), &text);
            match arch {
                Arch::X86_64 => out.push(x86::decode(at, next, &text, &call)),
                Arch::Aarch64 => out.extend(aarch64::decode(at, &text, &call)),
            }
            if let Some(function) = self.function(arch, at, next, &text, &mut pages)
                && let Some(decoded) = out.last_mut()
            {
                decoded.instruction.pointers.address = Some(Address::Code(function));
            }
            offset += length;
        }
        out
    }

    /// Follows the address that an AArch64 stub loads.
    fn stub(&self, at: u64, text: &str, page: &mut u64) {
        let last = text.rsplit("#").next().unwrap_or_default();
        let Some(value) = x86::number(last.trim_end_matches(']')) else { return };
        if text.starts_with("adrp") {
            let address = at & ((1 << 40) - 1);
            *page = (address & !0xfff).wrapping_add(value as u64);
        } else if text.starts_with("ldr") {
            *page = page.wrapping_add(value as u64);
        }
    }

    /// The symbol whose address is loaded from the global offset table.
    fn import(&self, next: u64, text: &str, page: u64, stub: bool) -> Option<Target> {
        if stub {
            return text.starts_with("br").then(|| self.imports.get(&page).cloned()).flatten();
        }
        let (_, rest) = classify::split(text);
        let operand = rest.strip_prefix('*')?.strip_suffix("(%rip)")?;
        let slot = (next & ((1 << 40) - 1)).wrapping_add(x86::number(operand)? as u64);
        self.imports.get(&slot).cloned()
    }

    /// What the target of a jump or call is: `None` for a jump within the function.
    fn callee(
        &self,
        at: u64,
        next: u64,
        relative: Option<u64>,
        import: Option<Target>,
        text: &str,
    ) -> Option<Callee> {
        match import {
            Some(Target::Outside(symbol)) => return Some(Callee::External(symbol)),
            Some(Target::Inside(to)) => return Some(Callee::Internal(to)),
            None => {}
        }
        for place in at..next {
            match self.relocations.get(&place) {
                Some(Target::Outside(name)) => return Some(Callee::External(name.clone())),
                Some(Target::Inside(to)) => return Some(Callee::Internal(*to)),
                None => {}
            }
        }
        let to = self.locate(relative?)?;
        let calls = text.starts_with("call") || text.starts_with("bl ") || text.starts_with("bl\t");
        let own = self.functions.range(..=at).next_back().map(|f| *f.0);
        let other = self.functions.range(..=to).next_back().map(|f| *f.0);
        (calls || own != other || self.functions.contains_key(&to) && Some(to) != own)
            .then_some(Callee::Internal(to))
    }

    /// Cuts sections into functions: at symbols and at the targets of calls.
    fn routines(
        &self,
        arch: Arch,
        mut sections: Vec<(Vec<Decoded>, bool)>,
    ) -> (Vec<Routine>, Vec<HashMap<u64, Spot>>) {
        see_through(&mut sections);
        let called: BTreeSet<u64> = sections
            .iter()
            .flat_map(|s| &s.0)
            .filter_map(|d| match d.instruction.control {
                Control::Call(Callee::Internal(to)) | Control::TailCall(Callee::Internal(to)) => {
                    Some(to)
                }
                _ => None,
            })
            .collect();
        let (sp, arguments) = match arch {
            Arch::X86_64 => (x86::SP, x86::ARGUMENTS),
            Arch::Aarch64 => (aarch64::SP, aarch64::ARGUMENTS),
        };
        let mut frames: Vec<(u64, Routine, Frame)> = Vec::new();
        for (code, plt) in sections {
            let mut current: Vec<Decoded> = Vec::new();
            let mut flush = |current: &mut Vec<Decoded>| {
                let Some(first) = current.first().map(|d| d.instruction.place) else { return };
                let (name, global) = match self.functions.get(&first) {
                    Some((name, global)) => (name.clone(), *global),
                    None if plt => (format!("stub at {:#x}", first & ((1 << 40) - 1)), false),
                    None => (format!("code at {:#x}", first & ((1 << 40) - 1)), false),
                };
                let reached = called.contains(&first);
                let code = std::mem::take(current);
                if plt && !reached {
                    return;
                }
                let code = stubbed(self.tables.apply(code), plt);
                let callback = !global && !reached;
                let (exported, listed) = (global || callback, self.listed.contains(&first));
                let routine = Routine { name, exported, callback, listed, code: Vec::new() };
                frames.push((first, routine, Frame::new(code, sp)));
            };
            for decoded in code {
                let at = decoded.instruction.place;
                if self.functions.contains_key(&at) || called.contains(&at) {
                    flush(&mut current);
                }
                current.push(decoded);
            }
            flush(&mut current);
        }
        let taken: HashMap<u64, i64> =
            frames.iter().map(|(at, _, frame)| (*at, frame.arguments() - pushed(arch))).collect();
        let passed = |callee: &Callee| match callee {
            Callee::Internal(to) => taken.get(to).copied().unwrap_or(0).max(0),
            _ => 0,
        };
        let (mut routines, mut calls) = (Vec::new(), Vec::new());
        for (_, routine, frame) in frames {
            let (code, spots) = stack::resolve(frame, arguments, passed);
            routines.push(Routine { code, ..routine });
            calls.push(spots);
        }
        (routines, calls)
    }
}

/// Bytes that a call pushes: x86-64's the address to return to.
fn pushed(arch: Arch) -> i64 {
    if arch == Arch::X86_64 { 8 } else { 0 }
}

/// Calls of stubs of the linkage table become calls of what the stubs jump to.
fn see_through(sections: &mut [(Vec<Decoded>, bool)]) {
    let mut stubs = HashMap::new();
    for (code, _) in sections.iter().filter(|s| s.1) {
        let mut behind = None;
        for decoded in code.iter().rev() {
            match &decoded.instruction.control {
                Control::Next => {}
                Control::TailCall(callee @ Callee::External(_)) => behind = Some(callee.clone()),
                _ => behind = None,
            }
            stubs.extend(behind.clone().map(|callee| (decoded.instruction.place, callee)));
        }
    }
    for decoded in sections.iter_mut().filter(|s| !s.1).flat_map(|s| &mut s.0) {
        if let Control::Call(callee) | Control::TailCall(callee) = &mut decoded.instruction.control
            && let Callee::Internal(to) = callee
            && let Some(behind) = stubs.get(to)
        {
            *callee = behind.clone();
        }
    }
}

/// A stub of the linkage table ends where it jumps; what follows serves the dynamic linker.
fn stubbed(mut code: Vec<Decoded>, plt: bool) -> Vec<Decoded> {
    if plt
        && let Some(end) =
            code.iter().position(|d| matches!(d.instruction.control, Control::TailCall(_)))
    {
        code.truncate(end + 1);
    }
    code
}

/// What a relocation of code refers to, if it is a function.
fn target(
    file: &object::File,
    relocation: &object::Relocation,
    is_text: &dyn Fn(Option<SectionIndex>) -> bool,
) -> Option<Target> {
    let RelocationFlags::Elf { r_type } = relocation.flags() else { return None };
    let x86 = file.architecture() == Architecture::X86_64;
    let jumps = match x86 {
        true => matches!(
            r_type,
            elf::R_X86_64_PLT32
                | elf::R_X86_64_PC32
                | elf::R_X86_64_GOTPCRELX
                | elf::R_X86_64_REX_GOTPCRELX
                | elf::R_X86_64_GOTPCREL
        ),
        false => matches!(r_type, elf::R_AARCH64_CALL26 | elf::R_AARCH64_JUMP26),
    };
    let RelocationTarget::Symbol(index) = relocation.target() else { return None };
    let symbol = file.symbol_by_index(index).ok()?;
    if !jumps {
        return None;
    }
    if symbol.is_undefined() {
        return Some(Target::Outside(symbol.name().unwrap_or_default().to_owned()));
    }
    let section = symbol.section_index().filter(|i| is_text(Some(*i)))?;
    let bias = if x86 { 4 } else { 0 };
    let address = symbol.address().wrapping_add_signed(relocation.addend() + bias);
    Some(Target::Inside(place(section, address)))
}

/// The place that a relocation refers to.
fn refers(file: &object::File, relocation: &object::Relocation) -> Option<u64> {
    let RelocationTarget::Symbol(index) = relocation.target() else { return None };
    let symbol = file.symbol_by_index(index).ok()?;
    let address = symbol.address().wrapping_add_signed(relocation.addend());
    Some(place(symbol.section_index()?, address))
}
