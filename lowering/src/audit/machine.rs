//! Register machines: from decoded instructions to def-use chains.
//!
//! Every write of a register is a value. A read takes the value of the last write before it in its
//! block, else one value stands for what the block's predecessors leave in the register (a phi that
//! is never simplified). Parameters and results of calls within the file are copies between the
//! functions' values, so a chain runs on through calls.

mod body;
mod build;

use body::Body;
pub use build::build;

use super::{
    Finding, Kind, calls,
    flow::{Action, Flow, Operation, Role, Source, Value},
    memory::{Access, Memory, Target},
};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Number of a register, a flag, a slot of the stack.
pub type Reg = u32;

/// Where control goes after an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// To the next one.
    Next,
    /// Always to this place.
    Jump(u64),
    /// To this place or the next instruction.
    Branch(u64),
    /// To a place in a register.
    Indirect,
    /// To one of these places, by a table.
    Table(Vec<u64>),
    /// Nowhere.
    Stop,
    /// Back to the caller.
    Return,
    /// Into a function and back.
    Call(Callee),
    /// Into a function that returns to this one's caller.
    TailCall(Callee),
}

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Callee {
    /// A function of this file, by its place.
    Internal(u64),
    /// A function elsewhere, by its symbol.
    External(String),
    /// A function of this file by name, with operands and results of the call in order.
    Named(String, Vec<Reg>, Vec<Reg>),
    /// A function whose address is computed.
    Unknown,
}

/// A decoded instruction.
#[derive(Clone, Debug)]
pub struct Instruction {
    /// Address or line.
    pub place: u64,
    /// Mnemonic.
    pub name: String,
    /// What it is to the audit.
    pub action: Action,
    /// Registers read.
    pub reads: Vec<(Reg, Role)>,
    /// Constants among the operands.
    pub constants: Vec<(i128, Role)>,
    /// Registers written as a whole.
    pub writes: Vec<Reg>,
    /// Registers written in part or under a condition.
    pub keeps: Vec<Reg>,
    /// Where the results come from.
    pub source: Source,
    /// Where control goes.
    pub control: Control,
    /// What it does with addresses.
    pub pointers: Pointers,
}

/// What an instruction does with addresses of frames and functions.
#[derive(Clone, Debug, Default)]
pub struct Pointers {
    /// Its result is this address.
    pub address: Option<Address>,
    /// Its result is this register and a number of bytes.
    pub moved: Option<(Reg, i64)>,
    /// Register that is only the base of an access that is followed.
    pub base: Option<Reg>,
    /// It accesses memory through that register.
    pub access: Option<Through>,
    /// It writes this many bytes of the frame; whether its result is all of them.
    pub writes: Option<(Place, i64, bool)>,
    /// It reads this much of the frame.
    pub reads: Option<OwnRead>,
    /// What it leaves of the registers that it keeps is no address: it replaces the lowest bytes.
    pub spoils: bool,
    /// It accesses the frame from here on, at places that are computed.
    pub exposes: Option<Place>,
}

/// A place in the frame: what it is counted from, and bytes.
pub type Place = (u32, i64);

/// A read of the function's own frame, whose own writes are followed as those of registers.
#[derive(Clone, Copy, Debug)]
pub struct OwnRead {
    /// Where.
    pub place: Place,
    /// Bytes read.
    pub bytes: i64,
    /// What is done with it.
    pub role: Role,
    /// Its result is all of it.
    pub whole: bool,
    /// It may be part of an object whose address is taken; else it is a spilled register.
    pub object: bool,
}

/// An address that code computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// In the function's own frame.
    Frame(Place),
    /// Of an instruction.
    Code(u64),
}

/// An access through a register.
#[derive(Clone, Copy, Debug)]
pub struct Through {
    /// Bytes added to the register.
    pub offset: i64,
    /// Bytes accessed.
    pub bytes: i64,
    /// It is read, with this role.
    pub load: Option<Role>,
    /// It is written.
    pub store: bool,
    /// The register that is loaded or stored, if that is all and is as wide as an address.
    pub whole: Option<Reg>,
}

impl Instruction {
    /// An instruction that does nothing.
    pub fn new(place: u64, name: impl Into<String>) -> Self {
        Self {
            place,
            name: name.into(),
            action: Action::None,
            reads: Vec::new(),
            constants: Vec::new(),
            writes: Vec::new(),
            keeps: Vec::new(),
            source: Source::Operands,
            control: Control::Next,
            pointers: Pointers::default(),
        }
    }
}

/// A function of instructions in ascending order of place.
#[derive(Clone, Debug, Default)]
pub struct Routine {
    /// Name.
    pub name: String,
    /// Whether code elsewhere may call it.
    pub exported: bool,
    /// Whether nothing calls it by name, here or elsewhere: its address is taken.
    pub callback: bool,
    /// Whether data of the file hold its address.
    pub listed: bool,
    /// Its code.
    pub code: Vec<Instruction>,
}

/// How a machine passes arguments and results.
pub trait Convention {
    /// Registers that return values; kernels have none.
    fn results(&self) -> &[Reg] {
        &[]
    }
    /// The caller's register at a call for a register that the callee reads before it writes it.
    fn argument(&self, _routine: usize, _call: u64, parameter: Reg) -> Option<Reg> {
        Some(parameter)
    }
    /// What a function elsewhere does with its arguments; `None` if that is not known.
    fn external(&self, _name: &str) -> Option<Vec<(Reg, Role)>> {
        None
    }
    /// For a function elsewhere that calls one of this file: the register with its address, and the
    /// parameter that each register becomes.
    fn calls_back(&self, _name: &str) -> Option<(Reg, Vec<(Reg, Reg)>)> {
        None
    }
    /// What the registers of a routine hold when it begins.
    fn entry(&self, _routine: &str) -> Source {
        Source::Operands
    }
    /// Registers that hold captured memory, if a read of memory may see it.
    fn captured(&self) -> Option<Reg> {
        None
    }
    /// File and line of an instruction, if the file says.
    fn line(&self, _place: u64) -> Option<String> {
        None
    }
    /// A place for people.
    fn place(&self, place: u64) -> String;
}
