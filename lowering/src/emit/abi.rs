//! The interface of compiled programs: what lies where in the state block, and which arrays they
//! take.

use pamc_passes::ir::{DType, TensorType};
use serde::{Deserialize, Serialize};

/// A named array of a compiled program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Name.
    pub name: String,
    /// Element type, by its name in the text form.
    pub dtype: String,
    /// Extents.
    pub shape: Vec<usize>,
    /// Bytes from the start of the block, for what lies in one.
    pub offset: usize,
}

impl Slot {
    /// A slot for a value.
    pub fn new(name: &str, ty: &TensorType, offset: usize) -> Slot {
        Slot { name: name.into(), dtype: ty.dtype.name().into(), shape: ty.shape.clone(), offset }
    }

    /// Its type; `f32` if the name of the element type is unknown.
    pub fn ty(&self) -> TensorType {
        let dtype = DType::from_name(&self.dtype).unwrap_or(DType::F32);
        TensorType::new(dtype, self.shape.clone())
    }
}

/// Everything a caller of a compiled program must know. All data is little-endian, row-major,
/// without subnormals in the state block; truth values are one byte, 0 or 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Name of the function to call.
    pub function: String,
    /// Parameters and states, with their offsets in the state block.
    pub state: Vec<Slot>,
    /// Bytes of the state block; 64-byte aligned.
    pub state_bytes: usize,
    /// Bytes of the arena, working memory without meaning between calls; 64-byte aligned.
    pub arena_bytes: usize,
    /// Arrays read, in order of the pointers. For training a slot is one batch.
    pub inputs: Vec<Slot>,
    /// Arrays written, in order of the pointers (inference).
    pub outputs: Vec<Slot>,
    /// Scalars a training step reports, in order.
    pub metrics: Vec<String>,
    /// Samples in one step: batch size times accumulated batches (training).
    pub samples_per_step: usize,
}

impl Layout {
    /// The state slot of that name.
    pub fn find_state(&self, name: &str) -> Option<&Slot> {
        self.state.iter().find(|s| s.name == name)
    }

    /// A C header that declares the compiled function and the sizes and offsets it needs.
    pub fn c_header(&self) -> String {
        let mut text = String::from("#pragma once\n#include <stdint.h>\n\n");
        let guard = |name: &str| -> String {
            let legal =
                |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
            name.chars().map(legal).collect()
        };
        text += &format!("#define PAMC_STATE_BYTES {}\n", self.state_bytes);
        text += &format!("#define PAMC_ARENA_BYTES {}\n", self.arena_bytes);
        let describe = |s: &Slot| format!("{} ({})", s.name.replace("*/", "* /"), s.ty());
        for slot in &self.state {
            let name = guard(&slot.name);
            text +=
                &format!("#define PAMC_STATE_{name} {} /* {} */\n", slot.offset, describe(slot));
        }
        for (what, slots) in [("INPUT", &self.inputs), ("OUTPUT", &self.outputs)] {
            for (i, slot) in slots.iter().enumerate() {
                let name = guard(&slot.name);
                text += &format!("#define PAMC_{what}_{name} {i} /* {} */\n", describe(slot));
            }
        }
        for (i, metric) in self.metrics.iter().enumerate() {
            text += &format!("#define PAMC_METRIC_{} {i}\n", guard(metric));
        }
        text += "\n/* state and arena: 64-byte aligned blocks. Returns 0. */\n";
        text += &match self.metrics.is_empty() && self.samples_per_step == 0 {
            true => format!(
                "int {}(void *state, void *arena, const void *const *inputs, void *const *outputs);\n",
                self.function
            ),
            false => format!(
                "/* data: whole data sets, one array an input; order: {} sample indices a step;\n   \
                 metrics: {} floats a step. */\n\
                 int {}(void *state, void *arena, const void *const *data, const int64_t *order,\n    \
                 float *metrics, int64_t steps);\n",
                self.samples_per_step,
                self.metrics.len(),
                self.function
            ),
        };
        text
    }
}
