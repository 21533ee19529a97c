//! Functions outside the audited file.
//!
//! A call out of the file is a finding, since what it computes is not seen, unless the function is
//! defined by its standard not to compute with the data it is given.

use super::{Kind, flow::Role};

/// What a function elsewhere does with its arguments, in order.
pub struct External {
    /// Beginning of its name, or all of it.
    pub name: &'static str,
    /// Whether the name only begins so.
    pub prefix: bool,
    /// Role of each argument.
    pub arguments: &'static [Role],
    /// Whether it may write data, or hand on addresses, where it is pointed to.
    pub writes: bool,
    /// Why it does not multiply data.
    pub why: &'static str,
}

const ADDRESS: Role = Role::Address;
/// Comes back as a parameter of a function in the file.
const KEPT: Role = Role::Value;
const DATA: Role = Role::Sink("is written to memory by a call");

const fn external(name: &'static str, arguments: &'static [Role], why: &'static str) -> External {
    External { name, prefix: false, arguments, writes: true, why }
}

/// The functions that may be called: the documentation lists them.
pub const EXTERNALS: &[External] = &[
    external("memcpy", &[ADDRESS, ADDRESS, ADDRESS], "C standard: copies bytes"),
    external("memmove", &[ADDRESS, ADDRESS, ADDRESS], "C standard: copies bytes"),
    external("memset", &[ADDRESS, DATA, ADDRESS], "C standard: repeats a byte"),
    external("bzero", &[ADDRESS, ADDRESS], "POSIX: clears bytes"),
    external("malloc", &[ADDRESS], "C standard: only takes a size"),
    external("calloc", &[ADDRESS, ADDRESS], "C standard: only takes sizes"),
    external("aligned_alloc", &[ADDRESS, ADDRESS], "C standard: only takes sizes"),
    external("free", &[ADDRESS], "C standard: only takes an address"),
    external("__stack_chk_fail", &[], "compiler support: ends the program"),
    external("__cxa_finalize", &[ADDRESS], "C++ ABI: runs destructors"),
    external("__gmon_start__", &[], "profiling hook without arguments"),
    external("floorf", &[DATA], "C standard: rounds"),
    external("ceilf", &[DATA], "C standard: rounds"),
    external("truncf", &[DATA], "C standard: rounds"),
    external("rintf", &[DATA], "C standard: rounds"),
    external("roundevenf", &[DATA], "C standard: rounds"),
    external("floor", &[DATA], "C standard: rounds"),
    external("ceil", &[DATA], "C standard: rounds"),
    external("trunc", &[DATA], "C standard: rounds"),
    external("rint", &[DATA], "C standard: rounds"),
    external("roundeven", &[DATA], "C standard: rounds"),
    external("fmaxf", &[DATA, DATA], "C standard: chooses"),
    external("fminf", &[DATA, DATA], "C standard: chooses"),
    External {
        name: "__kmpc_fork_",
        prefix: true,
        arguments: &[ADDRESS, ADDRESS, ADDRESS, KEPT, KEPT, KEPT, KEPT, KEPT],
        writes: true,
        why: "OpenMP runtime: calls back into this file, where all code is audited, with what it is \
              given",
    },
    External {
        name: "__kmpc_for_static_",
        prefix: true,
        arguments: &[ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS],
        writes: false,
        why: "OpenMP runtime: writes a thread's part of the bounds that it is given",
    },
    External {
        writes: false,
        ..external("__kmpc_global_thread_num", &[ADDRESS], "OpenMP runtime: names a thread")
    },
    External {
        writes: false,
        ..external("__kmpc_barrier", &[ADDRESS, ADDRESS], "OpenMP runtime: waits for threads")
    },
    External {
        name: "__kmpc_",
        prefix: true,
        arguments: &[ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS, ADDRESS],
        writes: true,
        why: "OpenMP runtime: shares out loops, whose bounds it is given",
    },
    External {
        name: "omp_",
        prefix: true,
        arguments: &[ADDRESS],
        writes: false,
        why: "OpenMP runtime: counts and names threads",
    },
];

/// The entry of a function by its symbol, whose version is ignored.
pub fn known(symbol: &str) -> Option<&'static External> {
    let name = symbol.split('@').next().unwrap_or(symbol);
    EXTERNALS.iter().find(|e| if e.prefix { name.starts_with(e.name) } else { name == e.name })
}

/// A function elsewhere that calls one it is given: the arguments from one on become the parameters
/// from one on.
#[derive(Clone, Copy, Debug)]
pub struct CallsBack {
    /// Argument that is the function.
    pub function: usize,
    /// First argument that is handed on.
    pub argument: usize,
    /// First parameter that it becomes.
    pub parameter: usize,
}

/// Whether a function elsewhere calls one it is given, and how.
pub fn calls_back(symbol: &str) -> Option<CallsBack> {
    let name = symbol.split('@').next().unwrap_or(symbol);
    // Given its location, a number, the function, and what that is given after two thread numbers.
    ["__kmpc_fork_call", "__kmpc_fork_teams"].contains(&name).then_some(CallsBack {
        function: 2,
        argument: 3,
        parameter: 2,
    })
}

/// What a call of any other function is reported as.
pub fn kind(symbol: &str) -> Kind {
    if super::native::is_arithmetic_call(symbol) { Kind::LibraryCall } else { Kind::UnknownCall }
}
