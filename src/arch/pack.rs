//! From a finished training run to a package: what every architecture's `train` ends in, and what its
//! `evaluate` reads back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::arch::golden::{GOLDEN_FILE, GoldenSample};
use crate::arch::train::checkpoint;
use crate::arch::{OpenError, Recipe, TrainError, TrainJob, TrainReport};
use crate::domain::{Digest, TensorSpec};
use crate::package::{self, Draft, Manifest, Package, PackageError, TrainingReceipt};

/// What a run learned from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataReceipt {
    /// SHA-256 over the data, as its reader defines it.
    pub digest: Digest,
    pub description: String,
    /// How many samples each part has, and how many were left out.
    pub parts: BTreeMap<String, usize>,
    /// What fixes which samples were held out, where chance does.
    pub seed: Option<u64>,
}

/// What the network takes and gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub inputs: Vec<TensorSpec>,
    pub outputs: Vec<TensorSpec>,
}

/// The manifest of what `job` trained: the recipe's words, the figures and the training receipt. Its
/// list of files is filled in when the package is written.
#[must_use]
pub fn manifest(
    job: &TrainJob<'_>,
    signature: Signature,
    metrics: BTreeMap<String, f64>,
    data: DataReceipt,
) -> Manifest {
    let recipe = &job.recipe;
    Manifest {
        format: 1,
        name: recipe.name.clone(),
        version: recipe.version,
        task: recipe.task.clone(),
        description: recipe.description.clone(),
        author: recipe.author.clone(),
        licence: recipe.licence.clone(),
        created: now(),
        architecture: recipe.architecture.clone(),
        preprocessing: recipe.preprocessing.clone(),
        inputs: signature.inputs,
        outputs: signature.outputs,
        metrics,
        training: Some(TrainingReceipt {
            data_digest: data.digest,
            data_description: data.description,
            data_seed: data.seed,
            seed: job.seed,
            epochs: recipe.fit.epochs,
            parent: job.parent.as_ref().map(|parent| parent.package.digest),
            command: job.command.clone(),
            recipe: job.recipe_text.clone(),
            source_revision: job.source_revision.clone(),
            chosen_on_test: recipe.fit.patience > 0
                && recipe.fit.epochs > 0
                && data.parts.get("validation").is_none_or(|&count| count == 0),
            data_parts: data.parts,
        }),
        import: None,
        files: BTreeMap::new(),
    }
}

/// Writes what was trained into the job's store; `left_out` is what it was not trained on.
///
/// # Errors
/// [`TrainError::Package`] when the version exists already or a file cannot be written.
pub fn write(
    job: &TrainJob<'_>,
    manifest: Manifest,
    files: BTreeMap<String, Vec<u8>>,
    samples: &[GoldenSample],
    left_out: Vec<String>,
) -> Result<TrainReport, TrainError> {
    let metrics = manifest.metrics.clone();
    let (place, digest) = place(&job.out, manifest, files, samples)?;
    // There may be none: a run of no epochs writes none.
    let _ = std::fs::remove_file(checkpoint::path(&job.out, &job.recipe.name, job.recipe.version));
    Ok(TrainReport { place, digest, metrics, left_out })
}

/// Adds the list of golden samples to `files` and writes the package into the store `out`.
///
/// # Errors
/// [`PackageError`] when the version exists already or a file cannot be written.
pub fn place(
    out: &Path,
    manifest: Manifest,
    mut files: BTreeMap<String, Vec<u8>>,
    samples: &[GoldenSample],
) -> Result<(PathBuf, Digest), PackageError> {
    let list = serde_json::to_vec_pretty(samples)
        .map_err(|error| PackageError::Manifest(format!("golden samples: {error}")))?;
    files.insert(GOLDEN_FILE.to_owned(), list);
    package::write(out, &Draft { manifest, files })
}

/// The time that a package is packed at: RFC 3339, whole seconds, UTC.
#[must_use]
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The recipe that a package was trained from.
///
/// # Errors
/// [`TrainError::Open`] when the package has no training receipt, or its recipe does not read.
pub fn recipe(package: &Package) -> Result<Recipe, TrainError> {
    let refuse = |reason| OpenError::Config { section: "training", reason };
    let receipt = package.manifest.training.as_ref().ok_or_else(|| {
        refuse("there is none, so the package does not say what data it is for: give --data".into())
    })?;
    Ok(toml::from_str(&receipt.recipe).map_err(|error| refuse(error.to_string()))?)
}
