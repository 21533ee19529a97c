//! One of ONNX's node tests: a model, its inputs and the outputs it must give.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use pamc::onnx::{ImportOptions, Model, OnnxError, Parameters, SeededDropout, read_tensor};
use pamc_passes::interpret::Values;
use pamc_passes::ir::{DType, Extent, Graph, Tensor};

/// A test as its folder has it.
pub struct Case {
    model: Model,
    /// Inputs by name, in the file's order.
    inputs: Vec<(String, Tensor)>,
    /// Outputs by name; `None` where a result is left out.
    pub expected: Vec<(String, Tensor)>,
}

/// A translated test with the values of the inputs that its graph kept.
pub struct Loaded {
    pub graph: Graph,
    pub values: Values,
}

impl Case {
    /// Reads a folder with `model.onnx` and `test_data_set_0`.
    pub fn read(dir: &Path) -> Result<Case, String> {
        let model = Model::load(&dir.join("model.onnx")).map_err(|e| e.to_string())?;
        let data = dir.join("test_data_set_0");
        let file = |kind: &str, i: usize| -> PathBuf { data.join(format!("{kind}_{i}.pb")) };
        let read = |kind: &str, names: Vec<String>| {
            let mut out = Vec::new();
            for (i, name) in names.into_iter().enumerate() {
                let path = file(kind, i);
                // An optional value that is not there has an empty or no file.
                if path.metadata().is_ok_and(|m| m.len() > 0) {
                    out.push((name, read_tensor(&path).map_err(|e| e.to_string())?));
                }
            }
            Ok::<_, String>(out)
        };
        let inputs = model.data_extents().map_err(|e| e.to_string())?;
        let inputs = read("input", inputs.into_iter().map(|(name, _)| name).collect())?;
        let expected = read("output", model.output_names())?;
        Ok(Case { model, inputs, expected })
    }

    /// Translates the model. Inputs that have to be known at import (shapes, axes, scales) are fixed
    /// to their values, as few as make it possible: the smallest ones first, the first input last.
    pub fn load(&self) -> Result<Loaded, String> {
        let mut order: Vec<usize> = (0..self.inputs.len()).collect();
        let rank = |&i: &usize| {
            let value = &self.inputs[i].1;
            (i == 0, value.dtype() == DType::F32 && value.len() > 1, value.len())
        };
        order.sort_by_key(rank);
        for fixed in 0..order.len() {
            if let Ok(loaded) = self.import(&order[..fixed]) {
                return Ok(loaded);
            }
        }
        // What is wrong with everything fixed is what is really wrong.
        self.import(&order).map_err(|e| e.to_string())
    }

    fn import(&self, fixed: &[usize]) -> Result<Loaded, OnnxError> {
        let bind: HashMap<String, Tensor> = fixed.iter().map(|&i| self.inputs[i].clone()).collect();
        let mut dims = HashMap::new();
        for (name, extents) in self.model.data_extents()? {
            let Some((_, value)) = self.inputs.iter().find(|(n, _)| *n == name) else { continue };
            for (extent, &size) in extents.iter().zip(value.shape()) {
                if let Extent::Symbol(symbol) = extent {
                    dims.insert(symbol.clone(), size);
                }
            }
        }
        let options = ImportOptions {
            dims,
            bind,
            parameters: Parameters::Named(Vec::new()),
            seeded_dropout: SeededDropout::Reference,
            ..ImportOptions::default()
        };
        let imported = self.model.import(&options)?;
        let mut values = Values::new();
        for input in imported.graph.inputs() {
            let given = self.inputs.iter().find(|(n, _)| *n == input.name);
            let stored = imported.states.iter().find(|s| s.name == input.name);
            let value = given.map(|(_, t)| t).or(stored.map(|s| &s.tensor));
            let ty = imported.graph.ty(input.node);
            values.insert(input.name.clone(), value.cloned().unwrap_or_else(|| Tensor::zeros(ty)));
        }
        Ok(Loaded { graph: imported.graph, values })
    }
}

/// Whether `got` is within ONNX's tolerance of `wanted`: |got − wanted| ≤ 10⁻⁷ + 10⁻³·|wanted|.
pub fn close(name: &str, wanted: &Tensor, got: Option<&Tensor>) -> Result<(), String> {
    let got = got.ok_or_else(|| format!("there is no output `{name}`"))?;
    if wanted.ty() != got.ty() {
        return Err(format!("`{name}` is {}, not {}", got.ty(), wanted.ty()));
    }
    let (Tensor::F32(a), Tensor::F32(b)) = (wanted, got) else {
        return match wanted.first_difference(got) {
            None => Ok(()),
            Some(i) => Err(format!("`{name}` differs at element {i}")),
        };
    };
    let near = |a: f32, b: f32| {
        let (a, b) = (f64::from(a), f64::from(b));
        a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 1e-7 + 1e-3 * a.abs()
    };
    match a.iter().zip(b).position(|(&a, &b)| !near(a, b)) {
        None => Ok(()),
        Some(i) => {
            let (a, b) = (a.iter().nth(i), b.iter().nth(i));
            Err(format!("`{name}` differs at element {i}: {b:?}, not {a:?}"))
        }
    }
}
