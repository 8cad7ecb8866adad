//! What training and evaluating are asked and what they say, and the run of a training: the same for every
//! architecture.

pub mod checkpoint;
mod course;
mod learner;
mod lock;
mod parent;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::arch::OpenError;
use crate::arch::report::Detail;
use crate::compute::WeightError;
use crate::compute::fit::{OptimiserConfig, Schedule};
use crate::dataset::DataError;
pub use crate::dataset::OnBadSample;
use crate::domain::{Digest, ModelName, Version};
use crate::package::{ArchitectureSection, PackageError};
use crate::plot::PlotError;

pub use course::{Finished, Goal, Lesson, run};
pub use learner::Learner;
pub use lock::Lock;
pub use parent::{Outputs, Parent, adopt};

/// A recipe: a TOML file that says what to train, on what, and how.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    pub name: ModelName,
    pub version: Version,
    pub task: String,
    pub description: String,
    pub author: String,
    pub licence: String,
    pub architecture: ArchitectureSection,
    #[serde(default)]
    pub preprocessing: toml::Table,
    /// Where the data is and how it is split; its keys belong to the architecture's data reader.
    pub data: toml::Table,
    pub fit: FitSection,
}

/// How long and how fast to learn.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitSection {
    /// At the most.
    pub epochs: usize,
    /// Stops when so many epochs were no better than the best before them. The best epoch is packed, even where the
    /// epochs ran out; 0 never stops early, and packs the last.
    #[serde(default)]
    pub patience: usize,
    /// Rows in a step.
    pub batch: usize,
    pub optimiser: OptimiserConfig,
    pub schedule: Schedule,
    /// What only this architecture's loop knows (sequence length, augmentation, …).
    #[serde(default)]
    pub options: toml::Table,
}

impl FitSection {
    /// # Errors
    /// [`TrainError::Open`] naming the key that is of no use.
    pub fn check(&self) -> Result<(), TrainError> {
        if self.batch == 0 {
            let reason = "batch: expected a number above 0".to_owned();
            return Err(OpenError::Config { section: "fit", reason }.into());
        }
        let refuse = |reason| OpenError::Config { section: "fit", reason };
        self.optimiser.check().map_err(refuse)?;
        Ok(self.schedule.check().map_err(refuse)?)
    }
}

/// One run of `maas train`.
pub struct TrainJob<'a> {
    pub recipe: Recipe,
    /// The recipe's own text, for the receipt.
    pub recipe_text: String,
    /// The command as typed, for the receipt.
    pub command: String,
    pub source_revision: String,
    /// Overrides the recipe's data directory.
    pub data: Option<PathBuf>,
    pub seed: u64,
    pub on_bad_sample: OnBadSample,
    /// The store that gets `<name>/<version>/`.
    pub out: PathBuf,
    /// Whose weights the run begins with, instead of fresh ones.
    pub parent: Option<Parent>,
    /// Beginnings of the names of parameters that are not learned.
    pub freeze: Vec<String>,
    /// Goes on from the checkpoint of a run that was cut off.
    pub resume: bool,
    /// Told of each step and each epoch.
    pub report: &'a mut dyn FnMut(Event<'_>),
}

impl TrainJob<'_> {
    /// Name and version, as a path: `fashion/1`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}/{}", self.recipe.name, self.recipe.version)
    }
}

/// What a run tells while it goes on.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// Tensors that begin fresh although the run goes on from a parent.
    Fresh(&'a [String]),
    Step(StepReport),
    /// It is over, and its checkpoint is written.
    Epoch(&'a EpochReport),
}

impl<'a> Event<'a> {
    /// The epoch that is over, where that is what happened.
    #[must_use]
    pub fn epoch(self) -> Option<&'a EpochReport> {
        match self {
            Self::Epoch(report) => Some(report),
            Self::Fresh(_) | Self::Step(_) => None,
        }
    }
}

/// One step of the optimiser.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// From 1.
    pub epoch: usize,
    /// Of this epoch, from 1.
    pub step: usize,
    /// In an epoch.
    pub steps: usize,
    /// Before the step.
    pub loss: f64,
    pub learning_rate: f64,
}

/// One epoch, as `--json` prints it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochReport {
    pub epoch: usize,
    pub train_loss: f64,
    /// `accuracy`, `bits_per_char`, `wer`, … on the held-out part.
    #[serde(flatten)]
    pub metrics: BTreeMap<String, f64>,
    pub seconds: f64,
}

/// What a finished run made.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainReport {
    pub place: PathBuf,
    pub digest: Digest,
    pub metrics: BTreeMap<String, f64>,
    /// Samples that were of no use, one line each.
    pub left_out: Vec<String>,
}

/// One run of `maas eval`.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalJob {
    /// Where the data is; `None` takes the place that the package's recipe names.
    pub data: Option<PathBuf>,
    pub on_bad_sample: OnBadSample,
}

/// What a package scores on data.
#[derive(Debug, Clone, PartialEq)]
pub struct EvalReport {
    pub metrics: BTreeMap<String, f64>,
    pub detail: Detail,
    pub data_digest: Digest,
    pub data_description: String,
    /// Samples that were of no use, one line each.
    pub left_out: Vec<String>,
}

/// Why training or evaluating stopped.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error("the data cannot be used: {0}")]
    Data(String),
    #[error("the data cannot be used: {0}")]
    Dataset(#[from] DataError),
    #[error(
        "training diverged at step {step}: {what} with a learning rate of {learning_rate}; \
         lower fit.optimiser.learning_rate, or set fit.optimiser.clip_norm"
    )]
    Diverged { step: usize, what: String, learning_rate: f64 },
    #[error("{place}: the network's scores are not finite")]
    NotFinite { place: String },
    #[error("{}: {reason}", path.display())]
    Locked { path: PathBuf, reason: String },
    #[error("checkpoint {}: {reason}", path.display())]
    Checkpoint { path: PathBuf, reason: String },
    #[error("{package} cannot be gone on from: {reason}")]
    Parent { package: String, reason: String },
    #[error("{0}")]
    Freeze(String),
    #[error("the arithmetic failed: {0}")]
    Arithmetic(#[from] candle_core::Error),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Weights(#[from] WeightError),
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error(transparent)]
    Plot(#[from] PlotError),
}
