//! Whisper (Radford et al. 2022): an encoder of half a minute of sound, and a decoder of its words.
//!
//! The network is described once, in [`weights`], and computed in two ways: as a [`graph`] and as a
//! [`plan`]. Both are a [`speech::Speech`], which is all that decoding knows. A [`Transcriber`] makes it what the
//! engine runs: an encoder, and a decoder whose windows join and leave between steps.

mod align;
mod codec;
mod config;
mod decode;
mod graph;
mod import;
mod plan;
mod recording;
mod speech;
mod timed;
mod transcriber;
mod vocabulary;
mod weights;

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::arch::pack::Signature;
use crate::arch::transformer;
use crate::arch::transformer::waveform::Waveforms;
use crate::arch::{OpenContext, OpenError, Timed, check_manifest, golden, section};
use crate::compute::kernels::Level;
use crate::compute::{Device, Loader, WeightError};
use crate::domain::{Datatype, Item, MediaLimits, Params, Payload, TensorSpec};
use crate::engine::{self, Codec, Endpoint, Limits, TokenId};
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

pub use import::import;

/// What such a package is for.
const TASK: &str = "speech-recognition";

/// Windows that are encoded or decoded at once. More would hardly be faster, and each holds what it hears: 18 MB
/// in the smallest Whisper, 500 in the largest.
const ROWS_MAX: usize = 8;

/// Windows that are listened to in one go, one after the other.
const PART_WINDOWS: usize = 4;

pub fn open(
    package: &mut Package,
    context: &OpenContext<'_>,
) -> Result<Box<dyn Endpoint>, OpenError> {
    let weights = package.take(WEIGHTS_FILE)?.into_words();
    let loader = Loader::owning(weights, context.device)?;
    let (graph, preprocessing) = build(package, loader, context.device)?;
    let config = graph.config.clone();
    if !context.device.is_cpu() {
        return serve(package, context, config, &preprocessing, graph);
    }
    let plan = planned(graph, context.level)?;
    serve(package, context, config, &preprocessing, plan)
}

/// Opens a package to be timed.
pub fn measure(
    package: &Package,
    context: &OpenContext<'_>,
    input: Option<Item>,
) -> Result<Box<dyn Timed>, OpenError> {
    let (graph, preprocessing) = load(package, context.device)?;
    let config = graph.config.clone();
    if !context.device.is_cpu() {
        let parts = parts(package, config, &preprocessing, graph)?;
        return timed::timed(package, parts, input);
    }
    let plan = planned(graph, context.level)?;
    let parts = parts(package, config, &preprocessing, plan)?;
    timed::timed(package, parts, input)
}

fn load(package: &Package, device: &Device) -> Result<(Graph, Preprocessing), OpenError> {
    build(package, Loader::new(package.file(WEIGHTS_FILE)?, device)?, device)
}

fn build(
    package: &Package,
    mut loader: Loader<'_>,
    device: &Device,
) -> Result<(Graph, Preprocessing), OpenError> {
    let manifest = &package.manifest;
    let config: Config = section("architecture.config", &manifest.architecture.config)?;
    config.check()?;
    check_manifest(manifest, TASK, &signature())?;
    let preprocessing: Preprocessing = section("preprocessing", &manifest.preprocessing)?;
    preprocessing.check(&config)?;
    let weights = Weights::new(&mut loader, &config)?;
    loader.finish()?;
    Ok((Graph { config, weights, device: device.clone() }, preprocessing))
}

/// A waveform in, a text out.
fn signature() -> Signature {
    let spec = |name: &str, datatype, shape: &[i64]| TensorSpec {
        name: name.to_owned(),
        datatype,
        shape: shape.to_vec(),
    };
    transformer::signature(
        spec("waveform", Datatype::Fp32, &[-1]),
        spec("text", Datatype::Bytes, &[1]),
    )
}

/// The network as a CPU runs it. The graph's weights are given back: they are packed by now.
fn planned(graph: Graph, level: Level) -> Result<Plan, OpenError> {
    let failed = |error: candle_core::Error| {
        let name = "all of them".to_owned();
        OpenError::Weights(WeightError::Device { name, reason: error.to_string() })
    };
    let plan = Plan::new(&graph, level).map_err(failed);
    drop(graph);
    plan
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
    for sample in golden::samples(package)? {
        let bytes = Bytes::copy_from_slice(package.file(&sample.input)?);
        let answer = golden_answer(&network, &codec, bytes)
            .map_err(|reason| OpenError::Golden { input: sample.input.clone(), reason })?;
        golden::compare(&sample, &answer)?;
    }
    codec.waveforms.limits = context.media;
    let batch_rows_max = context.limits.batch_rows_max.min(ROWS_MAX);
    let limits = Limits { batch_rows_max, ..context.limits };
    Ok(OpenContext { limits, ..*context }.encoder_decoder(package, network, codec))
}

fn parts<S: Speech>(
    package: &Package,
    config: Config,
    preprocessing: &Preprocessing,
    speech: S,
) -> Result<(Arc<Transcriber<S>>, WhisperCodec), OpenError> {
    let tokens = preprocessing.tokens.clone();
    let vocabulary = Arc::new(Vocabulary::new(package.file(TOKENIZER_FILE)?, tokens.end)?);
    let mel = Mel::new(preprocessing.mel.clone())
        .map_err(|reason| OpenError::Config { section: "preprocessing.mel", reason })?;
    let sample_rate = preprocessing.mel.sample_rate;
    // What a golden sample may be is the package's choice, not the server's.
    let waveforms = Waveforms { sample_rate, limits: MediaLimits::default() };
    let codec = WhisperCodec {
        longest: PART_WINDOWS * config.frames() * mel.config().hop,
        before_max: (config.text_positions / 2).saturating_sub(1),
        waveforms,
        tokens: tokens.clone(),
        vocabulary: Arc::clone(&vocabulary),
    };
    Ok((Arc::new(Transcriber { speech, config, tokens, mel, vocabulary }), codec))
}

/// What a package must still say to a golden sample: the transcript, its tokens, and the numbers that they
/// come from, of the first window, which no answer to a caller holds. A text that is not decoded at
/// temperature 0 is refused: a last bit that another processor computes otherwise would draw another.
fn golden_answer<S: Speech>(
    network: &Arc<Transcriber<S>>,
    codec: &WhisperCodec,
    sound: Bytes,
) -> Result<Value, String> {
    let payload = Payload::single(Item::Audio(sound), "/body");
    let (samples, ask) =
        codec.decode(payload, &Params::default()).map_err(|error| error.to_string())?;
    let heard = samples.first().map_or(&[][..], |recording| &recording.samples);
    let mel = network.log_mels(&heard[..heard.len().min(network.sizes().window)]);
    let outputs = engine::drive(network, samples, ROWS_MAX).map_err(|error| error.to_string())?;
    let positions = network.speech.positions(&mel).map_err(|error| error.to_string())?;
    if outputs.iter().any(|transcript| transcript.drawn) {
        let reason = "the network is not sure of what it hears, so that its text was drawn at a \
                      temperature above 0, and another processor might draw another: take another recording";
        return Err(reason.to_owned());
    }
    let segments = outputs.iter().flat_map(|transcript| &transcript.segments);
    let tokens: Vec<TokenId> = segments.flat_map(|segment| &segment.tokens).copied().collect();
    let outcomes = codec.encode(outputs, &ask).map_err(|error| error.to_string())?;
    let mut answer = serde_json::to_value(outcomes.first()).map_err(|error| error.to_string())?;
    answer["tokens"] = json!(tokens);
    answer["mel"] = statistics(&mel.data);
    answer["encoder"] = statistics(&positions);
    Ok(answer)
}

/// Mean, standard deviation and the first values.
#[expect(clippy::cast_precision_loss, reason = "a window has far fewer than 2^52 values")]
fn statistics(values: &[f32]) -> Value {
    let count = values.len().max(1) as f64;
    let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
    let apart = |&value: &f32| (f64::from(value) - mean).powi(2);
    let std = (values.iter().map(apart).sum::<f64>() / count).sqrt();
    json!({ "mean": mean, "std": std, "first": values.get(..8) })
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "small numbers")]
mod tests;
