//! The transformer: speech recognition with CTC over characters.

mod augment;
mod codec;
mod config;
mod corpus;
mod ctc;
mod net;
mod score;
mod train;
mod transcript;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::arch::golden::{self, GoldenSample};
use crate::arch::{
    Architecture, EvalJob, EvalReport, OpenContext, OpenError, TrainError, pack, section,
};
use crate::compute::{Device, Loader};
use crate::domain::{Item, MediaLimits, Params, Payload};
use crate::engine::{Codec, Endpoint, Network};
use crate::media::mel::Spectrogram;
use crate::package::{Package, WEIGHTS_FILE};
use codec::SpeechCodec;
use config::{Config, Preprocessing};
use corpus::Measured;
use net::Transformer;
use transcript::{CHARACTERS_FILE, Characters};

/// This architecture's row.
pub const ROW: Architecture = Architecture { name: "transformer", open, train: train::train, evaluate };

fn open(package: &Package, context: &OpenContext<'_>) -> Result<Box<dyn Endpoint>, OpenError> {
    let (network, codec) = load(package, context.device, context.media)?;
    for sample in golden::samples(package)? {
        check(package, &sample, &network, &codec)?;
    }
    Ok(context.engine.one_shot(network, codec, context.limits))
}

fn load(
    package: &Package,
    device: &Device,
    limits: MediaLimits,
) -> Result<(Transformer, SpeechCodec), OpenError> {
    let config: Config = section("architecture.config", &package.manifest.architecture.config)?;
    config.check()?;
    let preprocessing: Preprocessing = section("preprocessing", &package.manifest.preprocessing)?;
    preprocessing.check(&config)?;
    let characters = Characters::from_json(package.file(CHARACTERS_FILE)?)?;
    let classes = characters.classes();
    let codec = SpeechCodec::new(&preprocessing, config.stride, characters, limits)
        .map_err(|reason| OpenError::Config { section: "preprocessing.mel", reason })?;
    let mut loader = Loader::new(package.file(WEIGHTS_FILE)?, device)?;
    let network =
        Transformer::new(&mut loader, &config, preprocessing.mel.mels, classes, device)?;
    loader.finish()?;
    Ok((network, codec))
}

fn check(
    package: &Package,
    sample: &GoldenSample,
    network: &Transformer,
    codec: &SpeechCodec,
) -> Result<(), OpenError> {
    let bytes = Bytes::copy_from_slice(package.file(&sample.input)?);
    let answer = golden_answer(network, codec, bytes)
        .map_err(|reason| OpenError::Golden { input: sample.input.clone(), reason })?;
    golden::compare(sample, &answer)
}

/// What a package must still say to a golden sample: the transcript, and the log-probabilities that it
/// comes from, which no answer to a caller holds.
fn golden_answer(
    network: &Transformer,
    codec: &SpeechCodec,
    sound: Bytes,
) -> Result<Value, String> {
    let payload = Payload::single(Item::Audio(sound), "/body");
    let (samples, ask) =
        codec.decode(payload, &Params::default()).map_err(|error| error.to_string())?;
    let batch: Vec<&Spectrogram> = samples.iter().collect();
    let outputs = network.run(&batch).map_err(|error| error.to_string())?;
    // To five places: a hundredth of the tolerance, and half the bytes.
    let rounded = |value: &f32| (f64::from(*value) * 1e5).round() / 1e5;
    let values: Vec<f64> =
        outputs.iter().flat_map(|frames| frames.log_probabilities.iter().map(rounded)).collect();
    let outcomes = codec.encode(outputs, &ask).map_err(|error| error.to_string())?;
    let mut answer = serde_json::to_value(outcomes.first()).map_err(|error| error.to_string())?;
    answer["log_probabilities"] = json!(values);
    Ok(answer)
}

/// `wer` and `cer` on the test split, `wer_real` and `cer_real` on recordings of people.
fn evaluate(
    package: &Package,
    job: &EvalJob,
    device: &Device,
) -> Result<EvalReport, TrainError> {
    let (network, codec) = load(package, device, MediaLimits::default())?;
    let directory = match &job.data {
        Some(directory) => directory.clone(),
        None => section::<train::DataSection>("data", &pack::recipe(package)?.data)?.directory,
    };
    let measured = Measured::load(&directory, &codec)?;
    Ok(EvalReport {
        metrics: measured.score(&network, &codec)?,
        data_digest: measured.digest,
        data_description: format!(
            "{} clips of voices never heard, {} recordings of people",
            measured.test.len(),
            measured.real.len()
        ),
    })
}
