//! What `optimizer_model.onnx` says.

use super::error::{NodeRef, OnnxError, Unsupported};
use super::model::Model;
use super::proto::NodeProto;

/// An optimizer as ONNX Runtime's `optimizer_model.onnx` describes it. The learning rate is an
/// input there and so not part of it.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerSpec {
    /// Its update rule.
    pub rule: UpdateRule,
    /// Gradients are scaled down so that their global norm is at most this.
    pub max_norm: Option<f32>,
}

/// An update rule with its constants.
#[derive(Clone, Debug, PartialEq)]
pub enum UpdateRule {
    /// Adam with decoupled weight decay.
    AdamW {
        /// Decay of the first moment.
        beta1: f32,
        /// Decay of the second moment.
        beta2: f32,
        /// Added to the root of the second moment.
        epsilon: f32,
        /// Fraction of the weight, times the learning rate, taken away each step.
        weight_decay: f32,
        /// Whether moments are divided by 1 − βᵗ.
        correct_bias: bool,
        /// False: as PyTorch, weights decay before the update and ε is added to the root of the
        /// corrected second moment. True: as HuggingFace Transformers, weights decay after the
        /// update and ε is added to the root of the moment before it is corrected.
        decay_last: bool,
    },
    /// Plain gradient descent.
    Sgd,
}

impl OptimizerSpec {
    /// Reads the description out of an optimizer model.
    ///
    /// # Errors
    /// [`OnnxError::Unsupported`] for an unknown optimizer, [`OnnxError::Graph`] if there is none.
    pub fn of(model: &Model) -> Result<Self, OnnxError> {
        let (mut rule, mut max_norm) = (None, None);
        let mut unknown = Vec::new();
        for node in &model.graph().node {
            match node.op_type.as_str() {
                "AdamWOptimizer" => rule = Some(adamw(node)),
                "SGDOptimizer" | "SGDOptimizerV2" => rule = Some(UpdateRule::Sgd),
                "InplaceClipGradNorm" => max_norm = Some(float(node, "max_norm", 1.0)),
                "SequenceConstruct" | "SequenceAt" | "Identity" | "Constant" => {}
                op => unknown.push(Unsupported {
                    node: NodeRef {
                        name: node.name.clone(),
                        op: op.to_owned(),
                        opset: model.opset(&node.domain).unwrap_or(0),
                    },
                    reason: "not an optimizer pamc knows".to_owned(),
                    way_out: "generate the artifacts with AdamW or SGD".to_owned(),
                }),
            }
        }
        let file = model.file().to_owned();
        if !unknown.is_empty() {
            return Err(OnnxError::Unsupported { file, items: unknown });
        }
        let reason = "it holds no optimizer".to_owned();
        rule.map(|rule| Self { rule, max_norm }).ok_or(OnnxError::Graph { file, reason })
    }
}

fn float(node: &NodeProto, name: &str, default: f32) -> f32 {
    node.attribute.iter().find(|a| a.name == name).map_or(default, |a| a.f)
}

fn int(node: &NodeProto, name: &str, default: i64) -> i64 {
    node.attribute.iter().find(|a| a.name == name).map_or(default, |a| a.i)
}

/// Defaults are those of the operator's schema.
fn adamw(node: &NodeProto) -> UpdateRule {
    UpdateRule::AdamW {
        beta1: float(node, "alpha", 0.9),
        beta2: float(node, "beta", 0.999),
        epsilon: float(node, "epsilon", 1e-8),
        weight_decay: float(node, "weight_decay", 0.01),
        correct_bias: int(node, "correct_bias", 1) != 0,
        decay_last: int(node, "adam_mode", 0) != 0,
    }
}
