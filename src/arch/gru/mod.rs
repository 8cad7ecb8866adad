//! Text generation with recurrent layers: GRU and LSTM.

mod config;
mod fit;
mod language;
mod net;
mod packed;
mod plan;
mod score;
mod streams;
mod train;
mod vocabulary;

#[cfg(test)]
mod tests;

use candle_core::Device;
use serde_json::{Value, json};

use crate::arch::{Architecture, OpenContext, OpenError, Timed, check_manifest, golden, measure};
use crate::compute::{Loader, WeightError};
use crate::dataset::Store;
use crate::domain::{Item, MediaLimits};
use crate::engine::{Endpoint, Generator, RunError, TokenId};
use crate::package::{Package, WEIGHTS_FILE};

use config::{Config, Preprocessing};
use language::TextLanguage;
use net::RecurrentModel;
use packed::PackedModel;
use vocabulary::Vocabulary;

/// What all its networks are for.
const TASK: &str = "text-generation";

/// The row of the table of architectures.
pub const ARCHITECTURE: Architecture = Architecture {
    name: "gru",
    open,
    train: train::train,
    evaluate: train::evaluate,
    measure,
    import: None,
};

fn open(package: &mut Package, context: &OpenContext<'_>) -> Result<Box<dyn Endpoint>, OpenError> {
    let (model, language) = load(package, context.device, &context.media)?;
    if context.device.is_cpu() {
        let network = PackedModel::new(&model, context.level).map_err(unusable)?;
        serve(package, context, network, language)
    } else {
        serve(package, context, model.fold().map_err(unusable)?, language)
    }
}

fn measure(
    package: &Package,
    context: &OpenContext<'_>,
    input: Option<Item>,
) -> Result<Box<dyn Timed>, OpenError> {
    let (model, language) = load(package, context.device, &context.media)?;
    let network = PackedModel::new(&model, context.level).map_err(unusable)?;
    measure::stepwise(package, (network, language), input)
}

fn serve<N: Generator>(
    package: &Package,
    context: &OpenContext<'_>,
    network: N,
    language: TextLanguage,
) -> Result<Box<dyn Endpoint>, OpenError> {
    check(package, &network, &language)?;
    Ok(context.stepwise(package, network, language))
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err gives")]
fn unusable(error: candle_core::Error) -> OpenError {
    WeightError::Device { name: "rnn".to_owned(), reason: error.to_string() }.into()
}

/// The network and the language of a package, not yet checked against its golden samples.
fn load(
    package: &Package,
    device: &Device,
    media: &MediaLimits,
) -> Result<(RecurrentModel, TextLanguage), OpenError> {
    let manifest = &package.manifest;
    check_manifest(manifest, TASK, &train::signature())?;
    let config = Config::read(&manifest.architecture.config)?;
    let preprocessing = Preprocessing::read(&manifest.preprocessing)?;
    let bytes = package.file(preprocessing.tokens.file())?;
    let vocabulary = Vocabulary::read(preprocessing.tokens, bytes)?;
    let rows = config.rows(vocabulary.size())?;
    let mut loader = Loader::new(package.file(WEIGHTS_FILE)?, device)?;
    let model = RecurrentModel::new(&mut loader, &config, rows)?;
    loader.finish()?;
    Ok((model, TextLanguage::new(vocabulary, rows, &preprocessing, media)?))
}

/// Sampled text may differ between kinds of CPU, so what is compared is how surprising a fixed line is.
fn check(
    package: &Package,
    network: &impl Generator,
    language: &TextLanguage,
) -> Result<(), OpenError> {
    for sample in golden::samples(package)? {
        let refuse = |reason: String| OpenError::Golden { input: sample.input.clone(), reason };
        // Not as a request's: how long a request may be is the server's choice, not the package's.
        let items = golden::payload(package, &sample)?.items;
        let Some(Item::Text(line)) = items.first() else {
            return Err(refuse(format!("media {:?}: expected text", sample.media)));
        };
        let tokens = language
            .vocabulary()
            .encode(line)
            .map_err(|unknown| refuse(format!("the vocabulary cannot write it: {unknown:?}")))?;
        let figure =
            golden_figure(network, language, &tokens).map_err(|e| refuse(e.to_string()))?;
        golden::compare(&sample, &figure)?;
    }
    Ok(())
}

/// What a golden sample expects of a line.
fn golden_figure(
    network: &impl Generator,
    language: &TextLanguage,
    line: &[TokenId],
) -> Result<Value, RunError> {
    let score = score::score(network, language, &Store::from(line.to_vec()))?;
    Ok(json!({ "bits_per_character": score.map(|score| score.bits_per_character) }))
}
