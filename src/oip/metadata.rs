//! What is said of a model: its tensors, with the dimension of the batch.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::{Card, Datatype, ModelName, TensorSpec, task};
use crate::registry::Registry;

/// What runs the models, and how their weights lie.
pub const PLATFORM: &str = "candle_safetensors";

/// The extensions of the protocol that work here.
pub const EXTENSIONS: [&str; 9] = [
    "binary_tensor_data",
    "classification",
    "generate",
    "logging",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
];

/// A tensor of a model; the first dimension, −1, is that of the batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TensorMetadata {
    pub name: String,
    #[schema(value_type = String)]
    pub datatype: Datatype,
    pub shape: Vec<i64>,
}

/// A model as `GET /v2/models/{model}` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelMetadata {
    #[schema(value_type = String)]
    pub name: ModelName,
    pub versions: Vec<String>,
    pub platform: &'static str,
    pub inputs: Vec<TensorMetadata>,
    pub outputs: Vec<TensorMetadata>,
}

impl ModelMetadata {
    /// Of a version, and of which others there are.
    #[must_use]
    pub fn of(card: &Card, versions: Vec<String>) -> Self {
        Self {
            name: card.name.clone(),
            versions,
            platform: PLATFORM,
            inputs: card.inputs.iter().map(batched).collect(),
            outputs: outputs_of(card),
        }
    }
}

/// The versions of a model that serve.
#[must_use]
pub fn versions(registry: &Registry, name: &ModelName) -> Vec<String> {
    let slots = registry.list().into_iter().filter(|slot| slot.name == *name);
    slots.filter(|slot| slot.model.is_some()).map(|slot| slot.version.to_string()).collect()
}

fn batched(spec: &TensorSpec) -> TensorMetadata {
    let shape = std::iter::once(-1).chain(spec.shape.iter().copied()).collect();
    TensorMetadata { name: spec.name.clone(), datatype: spec.datatype, shape }
}

/// A model's own outputs, and what its task says beside them.
#[must_use]
pub fn outputs_of(card: &Card) -> Vec<TensorMetadata> {
    let more: &[(&str, Datatype)] = match card.task.as_str() {
        task::TEXT_GENERATION => &[
            ("finish_reason", Datatype::Bytes),
            ("prompt_tokens", Datatype::Uint64),
            ("completion_tokens", Datatype::Uint64),
            ("seed", Datatype::Uint64),
        ],
        task::TEXT_EMBEDDING => &[("tokens", Datatype::Uint64)],
        task::SPEECH_RECOGNITION => &[("duration", Datatype::Fp32)],
        _ => &[],
    };
    let more = more.iter().map(|&(name, datatype)| TensorMetadata {
        name: name.to_owned(),
        datatype,
        shape: vec![-1, 1],
    });
    card.outputs.iter().map(batched).chain(more).collect()
}
