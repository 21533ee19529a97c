//! Graphs that are ready to run, labelled by what they are.

use thiserror::Error;

use crate::arith::Arith;
use crate::ir::{Graph, VerifyError, verify};
use crate::ops::Kind;

/// Why a graph is not a program.
#[derive(Debug, Error)]
pub enum ProgramError {
    /// The graph breaks an invariant.
    #[error(transparent)]
    Invalid(#[from] VerifyError),
    /// Nodes that must not be there, all of them.
    #[error("not {what}: {}", .found.join("; "))]
    Foreign {
        /// What the graph was to be.
        what: &'static str,
        /// The offending nodes, with their origins.
        found: Vec<String>,
    },
}

/// A graph of primitives in which nothing multiplies.
#[derive(Clone, Debug)]
pub struct MulFree(Graph);

/// A graph of primitives in ordinary float arithmetic.
#[derive(Clone, Debug)]
pub struct Ordinary(Graph);

/// What the code generator accepts.
#[derive(Clone, Debug)]
pub enum Program {
    /// Multiplication-free.
    MulFree(MulFree),
    /// The labelled baseline.
    Ordinary(Ordinary),
}

fn foreign(graph: &Graph, admit: impl Fn(Kind) -> bool) -> Vec<String> {
    graph
        .nodes()
        .filter(|(_, n)| !admit(n.op.kind))
        .map(|(id, n)| format!("%{} = {} ({})", id.0, n.op.name, n.origin))
        .collect()
}

impl MulFree {
    /// The only way to make one: verifies the graph and that every node is a multiplication-free
    /// primitive.
    ///
    /// # Errors
    /// Lists every node that is not.
    pub fn new(graph: Graph) -> Result<Self, ProgramError> {
        verify(&graph)?;
        let found = foreign(&graph, |k| matches!(k, Kind::Prim(p) if !p.is_ordinary()));
        if found.is_empty() {
            Ok(MulFree(graph))
        } else {
            Err(ProgramError::Foreign { what: "multiplication-free", found })
        }
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.0
    }
}

impl Ordinary {
    /// Verifies the graph and that every node is a primitive.
    ///
    /// # Errors
    /// Lists every node that is not.
    pub fn new(graph: Graph) -> Result<Self, ProgramError> {
        verify(&graph)?;
        let found = foreign(&graph, |k| matches!(k, Kind::Prim(_)));
        if found.is_empty() {
            Ok(Ordinary(graph))
        } else {
            Err(ProgramError::Foreign { what: "made of primitives", found })
        }
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.0
    }
}

impl Program {
    /// The program of a lowered graph in the given arithmetic.
    ///
    /// # Errors
    /// See [`MulFree::new`] and [`Ordinary::new`].
    pub fn new(graph: Graph, arith: Arith) -> Result<Self, ProgramError> {
        match arith {
            Arith::Pam(_) => MulFree::new(graph).map(Program::MulFree),
            Arith::Float => Ordinary::new(graph).map(Program::Ordinary),
        }
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        match self {
            Program::MulFree(p) => p.graph(),
            Program::Ordinary(p) => p.graph(),
        }
    }

    /// True for the multiplication-free kind.
    pub fn is_mul_free(&self) -> bool {
        matches!(self, Program::MulFree(_))
    }
}
