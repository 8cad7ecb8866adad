//! What the service says of one version of a model.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::{Datatype, Digest, ModelName, Version};

/// One input or output of a model; −1 stands for a size that varies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    pub name: String,
    pub datatype: Datatype,
    /// Without the batch dimension.
    pub shape: Vec<i64>,
}

/// Where a version is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Loading,
    Ready,
    /// Taken out of service, and still answering what it had begun.
    Unloading,
    /// Taken out of service.
    Unloaded,
    /// Refused at load, or unready since: the reason is in [`Status`].
    Failed,
}

/// A version's state, with the reason when it is not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    pub state: State,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One version of a model as `GET /v1/models` shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Card {
    pub name: ModelName,
    pub version: Version,
    pub digest: Digest,
    pub task: String,
    pub architecture: String,
    pub description: String,
    pub author: String,
    pub licence: String,
    pub created: String,
    pub inputs: Vec<TensorSpec>,
    pub outputs: Vec<TensorSpec>,
    /// Figures known when the package was packed.
    pub metrics: BTreeMap<String, f64>,
}
