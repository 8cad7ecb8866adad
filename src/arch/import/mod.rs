//! What `maas import` is asked and what it says: the same for every architecture. An architecture's
//! `import` reads a checkpoint that others trained, takes the tensors that its network asks for, and packs
//! them with golden samples that the network answers as it will serve.

mod job;
mod source;
mod taker;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::arch::OpenError;
use crate::checkpoint::CheckpointError;
use crate::compute::WeightError;
use crate::domain::{Digest, ModelName, Version};
use crate::package::{ArchitectureSection, PackageError};

pub use job::{ImportJob, Sample};
pub use source::Source;
pub use taker::Taker;

/// A recipe: a TOML file that says what a checkpoint becomes. What the checkpoint's own files say (a
/// `config.json`, say) is not repeated in it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRecipe {
    pub name: ModelName,
    pub version: Version,
    pub task: String,
    pub description: String,
    pub author: String,
    /// An SPDX expression.
    pub licence: String,
    /// Where the weights come from, in words.
    pub source: String,
    pub architecture: ArchitectureSection,
    #[serde(default)]
    pub preprocessing: toml::Table,
    /// The names of the classes, where there are any; relative to the recipe, as are the samples.
    pub labels: Option<PathBuf>,
    /// Inputs whose answers the package must give for ever.
    #[serde(default)]
    pub samples: Vec<PathBuf>,
    /// Which tensor of the checkpoint is which of ours, where the architecture does not know by itself;
    /// its keys belong to the architecture.
    #[serde(default)]
    pub tensors: toml::Table,
}

/// What a finished import made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportReport {
    pub place: PathBuf,
    pub digest: Digest,
}

/// Why nothing was imported. Nothing is written then.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("{path} cannot be read: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("{path}: expected {expected}, got {got}")]
    File { path: String, expected: String, got: String },
    #[error("sample {name}: {reason}")]
    Sample { name: String, reason: String },
    #[error(
        "the checkpoint holds {count} tensors that the network does not have, such as {names}: \
         is the list of layers, or the table of tensors, that of another network?"
    )]
    Extra { count: usize, names: String },
    #[error(
        "the network's tensors have {got} bytes, and the checkpoint only {source_bytes}: too many of its \
         names share the same bytes"
    )]
    Shared { got: usize, source_bytes: usize },
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Weights(#[from] WeightError),
    #[error(transparent)]
    Package(#[from] PackageError),
}

/// Files of a package that is being made, by path.
pub type Files = BTreeMap<String, Vec<u8>>;
