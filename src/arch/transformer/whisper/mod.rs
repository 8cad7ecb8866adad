//! Whisper (Radford et al. 2022): an encoder of half a minute of sound, and a decoder of its words.
//!
//! The network is described once, in [`weights`], and computed in two ways: as a [`graph`] and as a
//! [`plan`]. Both are a [`speech::Speech`], which is all that decoding knows.

mod codec;
mod config;
mod decode;
mod graph;
mod plan;
mod recording;
mod speech;
mod transcriber;
mod vocabulary;
mod weights;

use std::sync::Arc;

use crate::arch::transformer::waveform::Waveforms;
use crate::arch::{OpenContext, OpenError, golden, section};
use crate::compute::{Device, Loader, WeightError};
use crate::domain::MediaLimits;
use crate::engine::Endpoint;
use crate::media::mel::Mel;
use crate::package::{Package, WEIGHTS_FILE};

use codec::WhisperCodec;
use config::{Config, Preprocessing};
use graph::Graph;
use plan::Plan;
use speech::Speech;
use transcriber::Transcriber;
use vocabulary::{TOKENIZER_FILE, Vocabulary};
use weights::Weights;

pub fn open(package: &Package, context: &OpenContext<'_>) -> Result<Box<dyn Endpoint>, OpenError> {
    let (graph, preprocessing) = load(package, context.device)?;
    let config = graph.config.clone();
    if !context.device.is_cpu() {
        return serve(package, context, config, &preprocessing, graph);
    }
    let plan = Plan::new(&graph, context.level).map_err(|error| {
        let reason = error.to_string();
        WeightError::Device { name: "all of them".to_owned(), reason }
    })?;
    // Its weights are packed by now.
    drop(graph);
    serve(package, context, config, &preprocessing, plan)
}

fn load(package: &Package, device: &Device) -> Result<(Graph, Preprocessing), OpenError> {
    let config: Config = section("architecture.config", &package.manifest.architecture.config)?;
    config.check()?;
    let preprocessing: Preprocessing = section("preprocessing", &package.manifest.preprocessing)?;
    preprocessing.check(&config)?;
    let mut loader = Loader::new(package.file(WEIGHTS_FILE)?, device)?;
    let weights = Weights::new(&mut loader, &config)?;
    loader.finish()?;
    Ok((Graph { config, weights, device: device.clone() }, preprocessing))
}

/// Checks the golden samples and hands the network to the engine, whichever way it computes.
fn serve<S: Speech>(
    package: &Package,
    context: &OpenContext<'_>,
    config: Config,
    preprocessing: &Preprocessing,
    speech: S,
) -> Result<Box<dyn Endpoint>, OpenError> {
    let (network, mut codec) = parts(package, config, preprocessing, speech)?;
    golden::check(package, &network, &codec)?;
    codec.waveforms.limits = context.media;
    Ok(context.engine.one_shot(&package.label(), network, codec, context.limits))
}

fn parts<S: Speech>(
    package: &Package,
    config: Config,
    preprocessing: &Preprocessing,
    speech: S,
) -> Result<(Transcriber<S>, WhisperCodec), OpenError> {
    let tokens = preprocessing.tokens.clone();
    let vocabulary = Arc::new(Vocabulary::new(package.file(TOKENIZER_FILE)?, tokens.end)?);
    let mel = Mel::new(preprocessing.mel.clone())
        .map_err(|reason| OpenError::Config { section: "preprocessing.mel", reason })?;
    let sample_rate = preprocessing.mel.sample_rate;
    // What a golden sample may be is the package's choice, not the server's.
    let waveforms = Waveforms { sample_rate, limits: MediaLimits::default() };
    let codec =
        WhisperCodec { waveforms, tokens: tokens.clone(), vocabulary: Arc::clone(&vocabulary) };
    Ok((Transcriber { speech, config, tokens, mel, vocabulary }, codec))
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "small numbers")]
mod tests;
