//! A model's configuration, in the shape of Triton's `ModelConfig`, as far as it says something here.

use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::ModelName;
use crate::oip::metadata::{PLATFORM, TensorMetadata, outputs_of};
use crate::registry::Model;

/// A tensor, without the dimension of the batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TensorConfig {
    pub name: String,
    /// Such as `TYPE_FP32`; texts are `TYPE_STRING`.
    pub data_type: String,
    pub dims: Vec<i64>,
}

/// Where copies of a model run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct InstanceGroup {
    pub name: String,
    /// `KIND_CPU` or `KIND_GPU`.
    pub kind: &'static str,
    pub count: usize,
    pub gpus: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DynamicBatching {
    pub preferred_batch_size: Vec<usize>,
    pub max_queue_delay_microseconds: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TransactionPolicy {
    /// Whether one request may be answered by several responses.
    pub decoupled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct VersionPolicy {
    pub specific: SpecificVersions,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SpecificVersions {
    pub versions: Vec<u32>,
}

/// The configuration of one version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelConfig {
    #[schema(value_type = String)]
    pub name: ModelName,
    pub platform: &'static str,
    pub backend: &'static str,
    pub version_policy: VersionPolicy,
    /// The largest batch that one request may bring.
    pub max_batch_size: usize,
    pub input: Vec<TensorConfig>,
    pub output: Vec<TensorConfig>,
    pub instance_group: Vec<InstanceGroup>,
    pub dynamic_batching: DynamicBatching,
    pub model_transaction_policy: TransactionPolicy,
}

impl ModelConfig {
    /// Of a version that serves; a request may bring `items_max` rows.
    #[must_use]
    pub fn of(model: &Model, items_max: usize) -> Self {
        let card = &model.card;
        let limits = model.limits;
        let gpu = model.device.strip_prefix("cuda:").and_then(|index| index.parse().ok());
        let inputs = super::ModelMetadata::of(card, Vec::new()).inputs;
        Self {
            name: card.name.clone(),
            platform: PLATFORM,
            backend: "candle",
            version_policy: VersionPolicy {
                specific: SpecificVersions { versions: vec![card.version.get()] },
            },
            max_batch_size: items_max,
            input: inputs.into_iter().map(tensor).collect(),
            output: outputs_of(card).into_iter().map(tensor).collect(),
            instance_group: vec![InstanceGroup {
                name: format!("{}_0", card.name),
                kind: if gpu.is_some() { "KIND_GPU" } else { "KIND_CPU" },
                count: limits.instances.max(1),
                gpus: gpu.into_iter().collect(),
            }],
            dynamic_batching: DynamicBatching {
                preferred_batch_size: vec![limits.batch_rows_max],
                max_queue_delay_microseconds: u64::try_from(limits.batch_delay_max.as_micros())
                    .unwrap_or(u64::MAX),
            },
            model_transaction_policy: TransactionPolicy { decoupled: model.endpoint.streams() },
        }
    }
}

fn tensor(metadata: TensorMetadata) -> TensorConfig {
    let TensorMetadata { name, datatype, shape } = metadata;
    let data_type = match datatype.name() {
        "BYTES" => "TYPE_STRING".to_owned(),
        name => format!("TYPE_{name}"),
    };
    TensorConfig { name, data_type, dims: shape.into_iter().skip(1).collect() }
}
