//! manifest.toml: everything that is known of a package, in one file that people can read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::{Card, Digest, ModelName, TensorSpec, Version};

pub const MANIFEST_FILE: &str = "manifest.toml";
pub const WEIGHTS_FILE: &str = "weights.safetensors";

/// The only manifest format there is.
pub const FORMAT: u32 = 1;

/// A package's manifest. Its bytes' SHA-256 is the package's digest; it holds the SHA-256 of every
/// other file, so the one digest speaks for all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The manifest's own format: 1.
    pub format: u32,
    pub name: ModelName,
    pub version: Version,
    /// What the model is for: `image-classification`, `image-regression`, `text-generation`,
    /// `text-embedding` or `speech-recognition`.
    pub task: String,
    pub description: String,
    pub author: String,
    /// An SPDX expression.
    pub licence: String,
    /// RFC 3339.
    pub created: String,
    pub architecture: ArchitectureSection,
    /// How a payload becomes numbers; its keys belong to the architecture.
    #[serde(default)]
    pub preprocessing: toml::Table,
    pub inputs: Vec<TensorSpec>,
    pub outputs: Vec<TensorSpec>,
    /// Figures known when the package was packed.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingReceipt>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub import: Option<ImportReceipt>,
    /// SHA-256 by path, for every file but the manifest itself.
    pub files: BTreeMap<String, Digest>,
}

/// Which architecture opens this package, and its hyperparameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArchitectureSection {
    pub name: String,
    #[serde(default)]
    pub config: toml::Table,
}

/// How the weights came to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingReceipt {
    /// SHA-256 over the training data, as the data reader defines it.
    pub data_digest: Digest,
    pub data_description: String,
    /// Fixes which samples were held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_seed: Option<u64>,
    pub seed: u64,
    pub epochs: usize,
    /// The digest of the package whose weights the run began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Digest>,
    pub command: String,
    /// The recipe, whole, so that the command can be run again.
    pub recipe: String,
    /// Version and source revision of the program that trained.
    pub source_revision: String,
    /// Whether the epoch that was packed is the best on the test part, because there is no validation part: the
    /// figures are then a little better than those of data that chose nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chosen_on_test: bool,
    /// How many samples each part had, and how many were left out as of no use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data_parts: BTreeMap<String, usize>,
}

/// Where weights that others trained came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportReceipt {
    /// In words, as the recipe says.
    pub source: String,
    pub command: String,
    /// The recipe, whole, so that the command can be run again.
    pub recipe: String,
    /// Version and source revision of the program that imported.
    pub source_revision: String,
    /// SHA-256 of every file that was read, by its name.
    pub sources: BTreeMap<String, Digest>,
}

impl Manifest {
    /// What `GET /v1/models` shows of it.
    #[must_use]
    pub fn card(&self, digest: Digest) -> Card {
        Card {
            name: self.name.clone(),
            version: self.version,
            digest,
            task: self.task.clone(),
            architecture: self.architecture.name.clone(),
            description: self.description.clone(),
            author: self.author.clone(),
            licence: self.licence.clone(),
            created: self.created.clone(),
            inputs: self.inputs.clone(),
            outputs: self.outputs.clone(),
            metrics: self.metrics.clone(),
        }
    }
}
