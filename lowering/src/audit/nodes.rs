//! Which nodes of a model a function computes: a table that compiled code carries along.
//!
//! A line holds a function's name, a tab and its nodes. ELF files have it in a section that is not loaded,
//! PTX in comments, cubins in a global, LLVM IR likewise.

use super::Report;
use crate::Error;
use object::{
    LittleEndian as Le, Object, ObjectSection, ObjectSymbol, U32, U64, elf,
    pod::{bytes_of, from_bytes, slice_from_bytes},
};
use std::collections::{BTreeMap, BTreeSet};

/// Section of ELF files.
const SECTION: &str = ".pamc_nodes";
/// Global of LLVM IR, PTX and cubins.
pub(super) const SYMBOL: &str = "pamc_nodes";
/// What a line in a comment of PTX begins with.
const COMMENT: &str = "// pamc_nodes\t";
/// Nodes of one function that are named; others are counted.
const NAMED: usize = 8;

/// The nodes of functions by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes(BTreeMap<String, String>);

impl Nodes {
    /// A table of the nodes that functions compute.
    pub fn new<'a>(functions: impl IntoIterator<Item = (&'a str, &'a BTreeSet<String>)>) -> Self {
        let line = |(name, nodes): (&str, &BTreeSet<String>)| {
            let mut listed: Vec<String> = nodes.iter().take(NAMED).map(|n| printable(n)).collect();
            if nodes.len() > NAMED {
                listed.push(format!("and {} more", nodes.len() - NAMED));
            }
            (printable(name), listed.join(", "))
        };
        Self(functions.into_iter().filter(|(_, nodes)| !nodes.is_empty()).map(line).collect())
    }

    fn parse(lines: &str) -> Self {
        let lines = lines.split(['\n', '\0']).filter_map(|l| l.split_once('\t'));
        Self(lines.map(|(name, nodes)| (name.to_owned(), nodes.to_owned())).collect())
    }

    fn text(&self) -> String {
        self.0.iter().map(|(name, nodes)| format!("{name}\t{nodes}\n")).collect()
    }

    /// The nodes of a function, or of the one of which it is an outlined part.
    fn of(&self, function: &str) -> Option<&str> {
        let part = |name: &str| {
            let rest = function.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '_']))
        };
        // Of names that begin alike the longest comes last.
        self.0.iter().rev().find(|(name, _)| part(name)).map(|(_, nodes)| nodes.as_str())
    }

    /// Names the nodes that findings come from.
    pub(crate) fn attribute(&self, report: &mut Report) {
        for finding in report.findings.iter_mut().filter(|f| f.source.is_none()) {
            finding.source = self.of(&finding.function).map(Into::into);
        }
    }

    /// The table of an ELF file, empty if it has none.
    pub(super) fn of_elf(bytes: &[u8]) -> Result<Self, Error> {
        let file = object::File::parse(bytes)?;
        if let Some(section) = file.section_by_name(SECTION) {
            return Ok(Self::parse(&String::from_utf8_lossy(section.data()?)));
        }
        let Some(symbol) = file.symbols().find(|s| s.name() == Ok(SYMBOL)) else {
            return Ok(Self::default());
        };
        let section = symbol.section_index().and_then(|i| file.section_by_index(i).ok());
        let data =
            section.and_then(|s| s.data_range(symbol.address(), symbol.size()).ok().flatten());
        Ok(Self::parse(&String::from_utf8_lossy(data.unwrap_or_default())))
    }

    /// The table in comments of PTX.
    pub(super) fn of_ptx(text: &str) -> Self {
        let lines: Vec<&str> = text.lines().filter_map(|l| l.strip_prefix(COMMENT)).collect();
        Self::parse(&lines.join("\n"))
    }

    /// The table in a global's bytes.
    pub(super) fn of_bytes(bytes: &[u8]) -> Self {
        Self::parse(&String::from_utf8_lossy(bytes))
    }

    /// An ELF file of 64 bits with the table in a section more; all else stays where it is.
    ///
    /// # Errors
    /// If the file is no such file or malformed.
    pub fn in_elf(&self, mut bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
        if self.0.is_empty() {
            return Ok(bytes);
        }
        let malformed = || Error::Audit { message: "a malformed ELF file was made".into() };
        type Header = elf::FileHeader64<Le>;
        type Section = elf::SectionHeader64<Le>;
        let (header, _) = from_bytes::<Header>(&bytes).map_err(|()| malformed())?;
        let mut header = *header;
        let start = header.e_shoff.get(Le) as usize;
        let count = usize::from(header.e_shnum.get(Le));
        let table = bytes.get(start..).ok_or_else(malformed)?;
        let (sections, _) = slice_from_bytes::<Section>(table, count).map_err(|()| malformed())?;
        let mut sections = sections.to_vec();
        let names =
            sections.get_mut(usize::from(header.e_shstrndx.get(Le))).ok_or_else(malformed)?;
        let (from, size) = (names.sh_offset.get(Le) as usize, names.sh_size.get(Le) as usize);
        let mut strings = bytes.get(from..from + size).ok_or_else(malformed)?.to_vec();
        let name = strings.len() as u32;
        strings.extend(SECTION.bytes().chain([0]));
        let mut append = |data: &[u8]| {
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            let at = bytes.len() as u64;
            bytes.extend(data);
            U64::new(Le, at)
        };
        names.sh_offset = append(&strings);
        names.sh_size = U64::new(Le, strings.len() as u64);
        let text = self.text();
        let zero = U64::new(Le, 0);
        sections.push(elf::SectionHeader64 {
            sh_name: U32::new(Le, name),
            sh_type: U32::new(Le, elf::SHT_PROGBITS),
            sh_flags: zero,
            sh_addr: zero,
            sh_offset: append(text.as_bytes()),
            sh_size: U64::new(Le, text.len() as u64),
            sh_link: U32::new(Le, 0),
            sh_info: U32::new(Le, 0),
            sh_addralign: U64::new(Le, 1),
            sh_entsize: zero,
        });
        header.e_shoff = append(object::pod::bytes_of_slice(&sections));
        header.e_shnum.set(Le, (count + 1) as u16);
        bytes[..size_of::<Header>()].copy_from_slice(bytes_of(&header));
        Ok(bytes)
    }

    /// The table as comments of PTX.
    pub fn ptx_comments(&self) -> String {
        self.0.iter().map(|(name, nodes)| format!("{COMMENT}{name}\t{nodes}\n")).collect()
    }

    /// The table as a global of PTX, which the machine code made of it keeps.
    pub fn ptx_global(&self) -> String {
        let text = self.text();
        if text.is_empty() {
            return text;
        }
        let bytes: Vec<String> = text.bytes().map(|b| b.to_string()).collect();
        let (count, bytes) = (bytes.len(), bytes.join(","));
        format!(".visible .global .align 1 .b8 {SYMBOL}[{count}] = {{{bytes}}};\n")
    }

    /// The table as a global of LLVM IR.
    pub fn llvm_global(&self) -> String {
        let text = self.text();
        if text.is_empty() {
            return text;
        }
        let bytes: String = text.bytes().map(|b| format!("\\{b:02X}")).collect();
        format!("\n@{SYMBOL} = internal constant [{} x i8] c\"{bytes}\"\n", text.len())
    }
}

/// A name without what ends it in the table.
fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lines: &[(&str, &[&str])]) -> Nodes {
        let sets: Vec<(&str, BTreeSet<String>)> =
            lines.iter().map(|(f, n)| (*f, n.iter().map(|n| (*n).into()).collect())).collect();
        Nodes::new(sets.iter().map(|(f, n)| (*f, n)))
    }

    #[test]
    fn a_part_has_the_nodes_of_the_whole() {
        let nodes = table(&[("nest_1", &["a", "b\n"]), ("nest_1_x", &["c"]), ("nest_12", &["d"])]);
        assert_eq!(nodes.of("nest_1"), Some("a, b "));
        assert_eq!(nodes.of("nest_1..omp_par.1"), Some("a, b "));
        assert_eq!(nodes.of("nest_1_element"), Some("a, b "));
        assert_eq!(nodes.of("nest_12_element"), Some("d"));
        assert_eq!(nodes.of("nest_1_x.cold"), Some("c"));
        assert_eq!(nodes.of("nest_13"), None);
        let many: BTreeSet<String> = (0..20).map(|n| format!("{n:02}")).collect();
        assert!(Nodes::new([("f", &many)]).of("f").unwrap().ends_with("07, and 12 more"));
        assert_eq!(Nodes::parse(&nodes.text()), nodes);
        assert_eq!(Nodes::of_ptx(&nodes.ptx_comments()), nodes);
    }

    #[test]
    fn what_is_no_elf_file_gets_no_section() {
        let nodes = table(&[("f", &["a"])]);
        assert!(nodes.in_elf(b"no".to_vec()).is_err());
        assert!(nodes.in_elf(vec![0; 64]).is_err());
        assert_eq!(Nodes::default().in_elf(b"no".to_vec()).unwrap(), b"no");
    }
}
