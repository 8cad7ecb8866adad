//! Whispers that others trained: a directory as Hugging Face publishes one, or as `CTranslate2` does.
//! Sizes and special tokens are read from the source; the recipe only says what the package is called.

mod ctranslate2;
mod huggingface;
mod special;

use serde::Deserialize;

use crate::arch::import::Files;
use crate::arch::transformer::whisper::config::{Config, Kind, Preprocessing};
use crate::arch::transformer::whisper::plan::Plan;
use crate::arch::transformer::whisper::vocabulary::TOKENIZER_FILE;
use crate::arch::transformer::whisper::weights::Weights;
use crate::arch::transformer::whisper::{golden_answer, load, parts, planned, signature};
use crate::arch::{ImportError, ImportJob, ImportReport, OpenError, Taker, section};
use crate::checkpoint::{Checkpoint, Form, Tensor};
use crate::compute::{Device, kernels};
use crate::engine::TokenId;
use crate::media::mel::{MelConfig, MelScale, Normalisation};
use crate::package::WEIGHTS_FILE;

/// What the recipe may say; the source says the rest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    #[serde(rename = "kind")]
    _kind: Kind,
}

/// What a source says of its network.
struct Described {
    config: Config,
    suppress: Vec<TokenId>,
    suppress_first: Vec<TokenId>,
}

/// Packs the source's tensors under Hugging Face's names, without their leading `model.`, and its
/// tokenizer, with what it hears in the samples.
pub fn import(job: &mut ImportJob) -> Result<ImportReport, ImportError> {
    let _: Said = section("architecture.config", &job.recipe.architecture.config)?;
    let samples = job.samples()?;
    let mut checkpoint = job.source.checkpoint()?;
    let described = match &checkpoint.form {
        Form::CTranslate2 { .. } => ctranslate2::describe(&mut job.source, &mut checkpoint)?,
        _ => huggingface::describe(&mut job.source, &mut checkpoint)?,
    };
    let tokenizer = job.source.file(TOKENIZER_FILE)?;
    let preprocessing = preprocessing(&described, &tokenizer)?;
    let weights = take(checkpoint, &described.config)?;
    job.recipe.architecture.config = table(&described.config)?;
    job.recipe.preprocessing = table(&preprocessing)?;
    let files = Files::from([
        (WEIGHTS_FILE.to_owned(), weights),
        (TOKENIZER_FILE.to_owned(), tokenizer.to_vec()),
    ]);
    let package = job.package(signature(), files)?;
    let (graph, preprocessing) = load(&package, &Device::Cpu)?;
    let config = graph.config.clone();
    let plan: Plan = planned(graph, kernels::best())?;
    let (network, codec) = parts(&package, config, &preprocessing, plan)?;
    job.write(package, "audio", samples, |bytes| golden_answer(&network, &codec, bytes))
}

/// The network's tensors as the bytes of weights.safetensors.
fn take(checkpoint: Checkpoint, config: &Config) -> Result<Vec<u8>, ImportError> {
    config.check()?;
    let same = |ours: &str| ours.to_owned();
    let mut taker = Taker::new(checkpoint, &same);
    Weights::new(&mut taker, config)?;
    taker.finish(|_: &str, _: &Tensor| false)
}

/// The front end that every Whisper has, and the special tokens of this one.
fn preprocessing(described: &Described, tokenizer: &[u8]) -> Result<Preprocessing, ImportError> {
    let mel = MelConfig {
        sample_rate: 16_000,
        fft: 400,
        window: 400,
        hop: 160,
        mels: described.config.mels,
        f_min: 0.0,
        f_max: 8000.0,
        scale: MelScale::Slaney,
        range: 8.0,
        normalisation: Normalisation::Fixed { mean: -4.0, std: 4.0 },
    };
    Ok(Preprocessing { mel, tokens: special::tokens(described, tokenizer)? })
}

fn table<T: serde::Serialize>(value: &T) -> Result<toml::Table, ImportError> {
    Ok(toml::Table::try_from(value).map_err(|error| OpenError::Config {
        section: "architecture.config",
        reason: error.to_string(),
    })?)
}

/// What a source should have said.
fn refuse(path: &str, expected: impl Into<String>, got: impl Into<String>) -> ImportError {
    ImportError::File { path: path.to_owned(), expected: expected.into(), got: got.into() }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "small numbers")]
mod tests;
