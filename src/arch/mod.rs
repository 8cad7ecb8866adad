//! One folder per architecture, one row each in [`ARCHITECTURES`]. An ability is a column.
//!
//! A fourth architecture is a folder and a row; nothing else in the program changes.

mod cnn;
pub mod golden;
mod gru;
mod import;
mod manifest;
mod measure;
pub mod pack;
pub mod report;
mod teamed;
mod tokenizer;
mod train;
mod transformer;

use std::sync::Arc;

use crate::compute::kernels::Level;
use crate::compute::{Device, WeightError};
use crate::domain::{Item, MediaLimits};
use crate::engine::{
    Codec, Decoding, EncoderDecoder, Endpoint, Engine, Generator, Language, Limits, Manner,
    Network, Within,
};
use crate::package::{Package, PackageError};

pub use import::{
    Files, ImportError, ImportJob, ImportRecipe, ImportReport, Sample, Source, Taker,
};
use manifest::{check_manifest, check_task};
pub use measure::Timed;
use teamed::teams;
pub use train::{
    EpochReport, EvalJob, EvalReport, Event, Finished, Goal, Learner, Lesson, Lock, OnBadSample,
    Outputs, Parent, Recipe, StepReport, TrainError, TrainJob, TrainReport, adopt, run,
};

/// Why a package does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("no architecture is called {got:?}: there are {known}")]
    Unknown { got: String, known: String },
    #[error("the manifest's {section} is not usable: {reason}")]
    Config { section: &'static str, reason: String },
    #[error(transparent)]
    Package(#[from] PackageError),
    #[error(transparent)]
    Weights(#[from] WeightError),
    #[error("golden sample {input}: {reason}")]
    Golden { input: String, reason: String },
}

/// What a package is opened with.
pub struct OpenContext<'a> {
    pub device: &'a Device,
    /// The instructions that kernels use where the device is a CPU.
    pub level: Level,
    pub engine: &'a Engine,
    pub limits: Limits,
    pub media: MediaLimits,
    /// Threads inside one forward pass; 0 takes as many as there are while nothing else runs, and else one.
    pub intra_op_threads: usize,
}

impl OpenContext<'_> {
    /// Hands a network of one forward a request to the engine, which measures its batches on the package's
    /// first golden sample.
    pub fn one_shot<N, C>(&self, package: &Package, network: N, codec: C) -> Box<dyn Endpoint>
    where
        N: Network,
        C: Codec<Sample = N::Sample, Output = N::Output>,
    {
        let probe = golden::probe(package, &codec);
        self.engine.one_shot(self.manner(&package.label()), network, codec, probe)
    }

    /// Hands a network that goes on from texts to the engine.
    pub fn stepwise<N, L>(&self, package: &Package, network: N, language: L) -> Box<dyn Endpoint>
    where
        N: Generator,
        L: Language,
    {
        self.engine.stepwise(self.manner(&package.label()), network, language)
    }

    /// Hands an encoder and a decoder to the engine.
    pub fn encoder_decoder<E, C>(
        &self,
        package: &Package,
        network: Arc<E>,
        codec: C,
    ) -> Box<dyn Endpoint>
    where
        E: EncoderDecoder,
        C: Codec<Sample = E::Sample, Output = <E::Decoding as Decoding>::Output>,
    {
        self.engine.encoder_decoder(self.manner(&package.label()), network, codec)
    }

    fn manner<'a>(&self, name: &'a str) -> Manner<'a> {
        let (threads, only_alone) = match self.intra_op_threads {
            0 => (self.engine.threads(), true),
            threads => (threads, false),
        };
        let within = teams(threads).map(|around| Within { around, only_alone });
        Manner { name, limits: self.limits, within }
    }
}

/// Opens a package: builds the network, answers the golden samples, and hands it to the engine. The network may
/// take the package's weights away.
pub type Open = fn(&mut Package, &OpenContext<'_>) -> Result<Box<dyn Endpoint>, OpenError>;

/// Opens a package to be timed.
pub type Measure =
    fn(&Package, &OpenContext<'_>, Option<Item>) -> Result<Box<dyn Timed>, OpenError>;

/// Trains a package from a recipe.
pub type Train = fn(&mut TrainJob<'_>, &Device) -> Result<TrainReport, TrainError>;

/// Measures a package on data.
pub type Evaluate = fn(&Package, &EvalJob, &Device) -> Result<EvalReport, TrainError>;

/// Makes a package of weights that others trained.
pub type Import = fn(&mut ImportJob) -> Result<ImportReport, ImportError>;

/// One kind of network: what it is called and what can be done with it.
pub struct Architecture {
    pub name: &'static str,
    pub open: Open,
    pub train: Train,
    pub evaluate: Evaluate,
    /// Opens a package to be timed on an input, or on its first golden sample.
    pub measure: Measure,
    /// Where there is something that others train.
    pub import: Option<Import>,
}

/// Every architecture there is.
pub const ARCHITECTURES: &[Architecture] =
    &[cnn::ARCHITECTURE, gru::ARCHITECTURE, transformer::ARCHITECTURE];

/// The row called `name`.
///
/// # Errors
/// [`OpenError::Unknown`] with the names there are.
pub fn find(name: &str) -> Result<&'static Architecture, OpenError> {
    ARCHITECTURES.iter().find(|row| row.name == name).ok_or_else(|| OpenError::Unknown {
        got: name.chars().take(80).collect(),
        known: ARCHITECTURES.iter().map(|row| row.name).collect::<Vec<_>>().join(", "),
    })
}

/// Reads a table of the manifest or of a recipe into an architecture's own type.
///
/// # Errors
/// [`OpenError::Config`] naming the key that is unknown, missing or of a wrong type.
pub fn section<T: serde::de::DeserializeOwned>(
    section: &'static str,
    table: &toml::Table,
) -> Result<T, OpenError> {
    table
        .clone()
        .try_into()
        .map_err(|error: toml::de::Error| OpenError::Config { section, reason: error.to_string() })
}
