//! Which constants of a model at inference are parameters, where neither the file nor the user
//! says.
//!
//! Exporters write parameters, buffers and constants of the program alike, as initializers. What
//! tells them apart is what they are an operand of, their name, and their values.

use std::collections::{HashMap, HashSet};

use pamc_passes::ir::{DType, Tensor};

use super::interface::{Statistics, bodies};
use crate::onnx::Model;
use crate::onnx::proto::{DataType, NodeProto, TypeValue};

/// Operators with the operands that are weights, whatever those are called.
const WEIGHTS: &[(&str, &[usize])] = &[
    ("Attention", &[1, 2]),
    ("BatchNormalization", &[1, 2]),
    ("BiasGelu", &[1]),
    ("Conv", &[1, 2]),
    ("ConvTranspose", &[1, 2]),
    ("EmbedLayerNormalization", &[2, 3, 4, 5, 6]),
    ("FastGelu", &[1]),
    ("FusedConv", &[1, 2]),
    ("FusedGemm", &[0, 1, 2]),
    ("FusedMatMul", &[0, 1]),
    ("GRU", &[1, 2, 3]),
    ("Gemm", &[0, 1, 2]),
    ("GroupNormalization", &[1, 2]),
    ("InstanceNormalization", &[1, 2]),
    ("LSTM", &[1, 2, 3, 7]),
    ("LayerNormalization", &[1, 2]),
    ("MatMul", &[0, 1]),
    ("PRelu", &[1]),
    ("RMSNormalization", &[1]),
    ("RNN", &[1, 2, 3]),
    ("SimplifiedLayerNormalization", &[1]),
    ("SkipLayerNormalization", &[2, 3, 4]),
    ("SkipSimplifiedLayerNormalization", &[2, 3]),
];

/// Operators that give on their first operand in another form.
const FORMS: &[&str] = &[
    "Cast",
    "CastLike",
    "Expand",
    "Flatten",
    "Identity",
    "Pad",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
];

/// Words in a name that say it is a buffer.
const BUFFER_WORDS: &[&str] = &[
    "anchors", "cached", "cos", "eps", "epsilon", "freq", "freqs", "mask", "pe", "running", "sin",
];
/// Words in a name that say it is a parameter, though one of those above may be there too.
const PARAMETER_WORDS: &[&str] = &["token", "weight", "embed", "embedding", "table"];
/// Last words of the names of single numbers that are learned.
const LEARNED_NUMBERS: &[&str] =
    &["alpha", "beta", "bias", "gamma", "scale", "temperature", "weight"];

/// Added to attention scores, this and less means: not at all.
const MASKED: f32 = -1e4;

/// What the nodes of a model make of its constants.
pub(super) struct Roles<'a> {
    uses: HashMap<&'a str, Vec<(&'a NodeProto, usize)>>,
    makers: HashMap<&'a str, &'a NodeProto>,
    integers: HashSet<&'a str>,
}

impl<'a> Roles<'a> {
    pub fn of(model: &'a Model) -> Self {
        let graph = model.graph();
        let is_integer = |code: i32| {
            use DataType as D;
            matches!(DataType::try_from(code), Ok(D::Int64 | D::Int32 | D::Int16 | D::Int8))
        };
        let inputs = graph.input.iter().filter(|i| {
            let ty = i.r#type.as_ref().and_then(|t| t.value.as_ref());
            matches!(ty, Some(TypeValue::Tensor(t)) if is_integer(t.elem_type))
        });
        let stored = graph.initializer.iter().filter(|t| is_integer(t.data_type));
        let integers = inputs.map(|i| i.name.as_str()).chain(stored.map(|t| t.name.as_str()));
        let mut made =
            Roles { uses: HashMap::new(), makers: HashMap::new(), integers: integers.collect() };
        made.collect(&graph.node);
        made
    }

    fn collect(&mut self, nodes: &'a [NodeProto]) {
        for node in nodes {
            for (i, name) in node.input.iter().enumerate() {
                self.uses.entry(name).or_default().push((node, i));
            }
            self.makers.extend(node.output.iter().map(|o| (o.as_str(), node)));
            bodies(node).for_each(|graph| self.collect(&graph.node));
        }
    }

    /// Why a constant is no parameter; `None` if it is one.
    pub fn why_fixed(
        &self,
        name: &str,
        tensor: &Tensor,
        fixed: &Statistics,
    ) -> Option<&'static str> {
        if tensor.dtype() != DType::F32 || tensor.is_empty() {
            return Some("it is no float");
        }
        if fixed.fixed.contains(name) {
            return Some("it says how an operator works");
        }
        if is_mask(tensor) {
            return Some("its values are those of a mask");
        }
        let words = words(name);
        let has = |list: &[&str]| words.iter().any(|w| list.contains(&w.as_str()));
        if has(BUFFER_WORDS) && !has(PARAMETER_WORDS) {
            return Some("its name is that of a buffer");
        }
        match self.is_weight(name, 0) {
            Some(true) => return None,
            Some(false) => return Some("it is multiplied with positions"),
            None if is_anonymous(name) => return Some("its name is that of a constant"),
            None => {}
        }
        let dotted = name.contains(['.', '/']);
        let learned = words.last().is_some_and(|w| LEARNED_NUMBERS.contains(&w.as_str()));
        let single = tensor.ty().len() == 1 && !(learned && (dotted || name == "logit_scale"));
        single.then_some("it is a single number")
    }

    /// Whether it is a weight of an operator that has weights; false where it multiplies positions
    /// instead, as the frequencies of rotary embeddings do.
    fn is_weight(&self, name: &str, depth: usize) -> Option<bool> {
        let mut found = None;
        for (node, i) in self.uses.get(name).into_iter().flatten() {
            let op = node.op_type.as_str();
            let operands = WEIGHTS.iter().find(|w| w.0 == op).map_or(&[][..], |w| w.1);
            let here = match () {
                () if operands.contains(i) && op == "MatMul" => {
                    let other = node.input.get(1 - i).map_or("", String::as_str);
                    Some(!self.is_position(other, false, 0))
                }
                () if operands.contains(i) || op == "Einsum" => Some(true),
                () if FORMS.contains(&op) && *i == 0 && depth < 8 => {
                    node.output.iter().find_map(|o| self.is_weight(o, depth + 1))
                }
                () => None,
            };
            found = found.max(here);
        }
        found
    }

    /// Whether a value is integers made floats.
    fn is_position(&self, name: &str, cast: bool, depth: usize) -> bool {
        if cast && self.integers.contains(name) {
            return true;
        }
        let Some(node) = self.makers.get(name).filter(|_| depth < 16) else { return false };
        let op = node.op_type.as_str();
        let whole = ["Add", "Constant", "CumSum", "Gather", "Range", "Shape", "Sub"];
        if cast && whole.contains(&op) {
            let first = node.input.first().map_or("", String::as_str);
            return matches!(op, "Shape" | "Range") || self.is_position(first, cast, depth + 1);
        }
        let first = node.input.first().map_or("", String::as_str);
        FORMS.contains(&op) && self.is_position(first, cast || op == "Cast", depth + 1)
    }
}

/// 0 where something may be attended to, −∞ or nearly so where not.
fn is_mask(tensor: &Tensor) -> bool {
    let Tensor::F32(values) = tensor else { return false };
    let low = |x: f32| x <= MASKED;
    values.iter().any(|&x| low(x)) && values.iter().all(|&x| x == 0.0 || low(x))
}

/// The parts of a name, in lower case.
fn words(name: &str) -> Vec<String> {
    let parts = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty());
    parts.map(str::to_ascii_lowercase).collect()
}

/// Whether an exporter made the name up for a constant, rather than the model's author. What PyTorch
/// calls `onnx::Mul_163` it has folded from a parameter, such as the scale of a group normalization:
/// its constants proper are no initializers.
fn is_anonymous(name: &str) -> bool {
    let numbered = |prefix: &str| {
        let rest = name.strip_prefix(prefix);
        rest.is_some_and(|r| !r.is_empty() && r.bytes().all(|b| b.is_ascii_digit()))
    };
    let made_up = ["_to_copy", "lifted_tensor", "scalar_tensor", "ortshared_"];
    let constant = |w: &String| {
        ["const", "constant", "cst"].contains(&w.trim_end_matches(|c: char| c.is_ascii_digit()))
    };
    made_up.iter().any(|p| name.starts_with(p))
        || ["", "val_", "_val_"].iter().any(|p| numbered(p))
        || words(name).iter().any(constant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_parameters_from_constants() {
        for name in ["12", "val_3", "/m/Constant_2_output_0", "const_fold_opt__7"] {
            assert!(is_anonymous(name), "{name}");
        }
        for name in
            ["onnx::Mul_163", "fc1.bias", "cls_token", "b", "value_proj.bias", "constraint.weight"]
        {
            assert!(!is_anonymous(name), "{name}");
        }
    }

    #[test]
    fn masks_are_known_by_their_values() {
        let tensor = |v: Vec<f32>| Tensor::vector(v);
        assert!(is_mask(&tensor(vec![0.0, f32::NEG_INFINITY])));
        assert!(is_mask(&tensor(vec![0.0, f32::MIN])));
        assert!(!is_mask(&tensor(vec![0.0, 0.0])));
        assert!(!is_mask(&tensor(vec![0.5, -2e4])));
    }
}
