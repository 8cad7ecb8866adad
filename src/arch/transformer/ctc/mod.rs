//! Speech recognition with CTC over characters: an encoder that scores characters at each position.

mod augment;
mod codec;
mod config;
mod corpus;
mod lexicon;
mod loss;
mod net;
mod plan;
mod score;
mod train;
mod transcript;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::arch::golden::{self, GoldenSample};
use crate::arch::report::Detail;
use crate::arch::{
    EvalJob, EvalReport, OpenContext, OpenError, Timed, TrainError, check_manifest, measure, pack,
    section,
};
use crate::compute::kernels::{self, Level};
use crate::compute::{Device, Loader, WeightError};
use crate::dataset::BadSamples;
use crate::dataset::speech::{self, List};
use crate::domain::{Item, MediaLimits, Params, Payload};
use crate::engine::{Codec, Endpoint};
use crate::media::mel::Spectrogram;
use crate::package::{Package, WEIGHTS_FILE};
use codec::SpeechCodec;
use config::{Config, Preprocessing};
use net::{Recognises, Transformer};
use plan::Recogniser;
use transcript::{CHARACTERS_FILE, Characters};

pub use train::train;

/// What all its networks are for.
const TASK: &str = "speech-recognition";

pub fn open(
    package: &mut Package,
    context: &OpenContext<'_>,
) -> Result<Box<dyn Endpoint>, OpenError> {
    // What a golden sample may be is the package's choice, not the server's.
    let (network, mut codec) =
        load(package, context.device, context.level, MediaLimits::default())?;
    for sample in golden::samples(package)? {
        check(package, &sample, &network, &codec)?;
    }
    codec.set_limits(context.media);
    Ok(context.one_shot(package, network, codec))
}

pub fn measure(
    package: &Package,
    context: &OpenContext<'_>,
    input: Option<Item>,
) -> Result<Box<dyn Timed>, OpenError> {
    let parts = load(package, context.device, context.level, context.media)?;
    measure::one_shot(package, parts, input)
}

fn load(
    package: &Package,
    device: &Device,
    level: Level,
    limits: MediaLimits,
) -> Result<(Recogniser, SpeechCodec), OpenError> {
    check_manifest(&package.manifest, TASK, &train::signature())?;
    let config: Config = section("architecture.config", &package.manifest.architecture.config)?;
    config.check()?;
    let preprocessing: Preprocessing = section("preprocessing", &package.manifest.preprocessing)?;
    preprocessing.check(&config)?;
    let characters = Characters::from_json(package.file(CHARACTERS_FILE)?)?;
    let classes = characters.classes();
    let codec = SpeechCodec::new(&preprocessing, &config, characters, limits)?;
    let mut loader = Loader::new(package.file(WEIGHTS_FILE)?, device)?;
    let network = Transformer::new(&mut loader, &config, preprocessing.mel.mels, classes, device)?;
    loader.finish()?;
    let network = Recogniser::new(network, level).map_err(|error| WeightError::Device {
        name: "blocks".to_owned(),
        reason: error.to_string(),
    })?;
    Ok((network, codec))
}

fn check(
    package: &Package,
    sample: &GoldenSample,
    network: &impl Recognises,
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
    network: &impl Recognises,
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
pub fn evaluate(
    package: &Package,
    job: &EvalJob,
    device: &Device,
) -> Result<EvalReport, TrainError> {
    let (network, codec) = load(package, device, kernels::best(), MediaLimits::default())?;
    let data: speech::Config = match (pack::recipe(package), &job.data) {
        (Ok(recipe), _) => section("data", &recipe.data)?,
        // A package that was trained elsewhere has no recipe.
        (Err(_), Some(_)) => speech::Config::default(),
        (Err(error), None) => return Err(error),
    };
    let mut bad = BadSamples::new(job.on_bad_sample);
    let list = List::read(&data, job.data.as_deref(), &mut bad)?.to_measure();
    let (splits, data_digest) = corpus::heard(&list, &network, &codec, &mut bad)?;
    let [test, real] = &splits;
    let data_description = format!(
        "{} clips that training never heard, {} recordings of people",
        test.utterances, real.utterances
    );
    Ok(EvalReport {
        metrics: score::metrics(&splits),
        detail: Detail::Speech { splits: splits.into() },
        data_digest,
        data_description,
        left_out: bad.left_out(),
    })
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "small numbers")]
mod tests {
    use super::*;
    use crate::arch::{OnBadSample, TrainJob};
    use std::fmt::Write;
    use std::fs;
    use std::path::Path;

    const RECIPE: &str = r#"
        name = "tones"
        version = 1
        task = "speech-recognition"
        description = "Tones"
        author = "a test"
        licence = "MIT"
        data = { directory = "unused" }
        [architecture]
        name = "transformer"
        config = { stride = 4, context = 4, width = 16, layers = 1, heads = 2, hidden = 16, activation = "relu", dropout = 0.1, positions_max = 64 }
        [preprocessing]
        window_seconds = 2.0
        mel = { sample_rate = 8000, fft = 256, window = 200, hop = 80, mels = 8, f_min = 0.0, f_max = 4000.0, scale = "slaney", range = 6.0, normalisation = { kind = "utterance" } }
        [fit]
        epochs = 2
        batch = 2
        schedule = { kind = "constant" }
        optimiser = { method = "adamw", learning_rate = 0.01, clip_norm = 1.0 }
        options = { stretch = 0.1, warp = 0.1, band = 0.2, band_mel = 6, noise = 0.5, pad_frames = 2, masks = 1, mask_frames = 2, mask_mels = 1, silence = 0.1 }
    "#;

    /// 16-bit mono WAV of a text at 8 kHz: `a` is a low tone of 100 ms, `b` a high one.
    fn spoken(text: &str) -> Vec<u8> {
        let mut samples: Vec<i16> = Vec::new();
        for letter in text.chars() {
            let step = match letter {
                'a' => 0.3,
                'b' => 1.2,
                _ => 0.0,
            };
            samples.extend((0..800).map(|i| ((i as f32 * step).sin() * 12_000.0) as i16));
        }
        let length = (samples.len() * 2) as u32;
        let mut file = b"RIFF".to_vec();
        file.extend((36 + length).to_le_bytes());
        file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data");
        file.extend(length.to_le_bytes());
        file.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
        file
    }

    fn data(directory: &Path) {
        let clips = [
            ("a b", "train"),
            ("b a", "train"),
            ("a", "train"),
            ("a b a b", "test"),
            ("b", "real"),
        ];
        let mut list = String::new();
        for (i, (text, split)) in clips.iter().enumerate() {
            fs::write(directory.join(format!("{i}.wav")), spoken(text)).unwrap();
            let audio = format!("{i}.wav");
            let line = json!({"audio": audio, "text": text, "voice": "tone", "split": split});
            writeln!(list, "{line}").unwrap();
        }
        fs::write(directory.join("clips.jsonl"), list).unwrap();
    }

    /// Trains into a store below `out` and returns the package and what was reported.
    fn trained(
        data: &Path,
        out: &Path,
        edit: impl Fn(&mut crate::arch::Recipe),
    ) -> (Package, usize) {
        let mut recipe: crate::arch::Recipe = toml::from_str(RECIPE).unwrap();
        edit(&mut recipe);
        let mut epochs = 0;
        let mut job = TrainJob {
            recipe,
            recipe_text: RECIPE.to_owned(),
            command: "maas train".to_owned(),
            source_revision: "test".to_owned(),
            data: Some(data.to_owned()),
            seed: 5,
            on_bad_sample: OnBadSample::Fail,
            out: out.to_owned(),
            parent: None,
            freeze: Vec::new(),
            resume: false,
            report: &mut |event| {
                let Some(report) = event.epoch() else { return };
                assert!(
                    report.metrics.contains_key("wer") && report.metrics.contains_key("wer_real")
                );
                epochs += 1;
            },
        };
        let report = train(&mut job, &Device::Cpu).unwrap();
        (Package::open(&report.place).unwrap(), epochs)
    }

    #[test]
    fn one_seed_makes_the_same_bytes_and_they_answer_their_golden_sample() {
        let (clips, first, second) = (
            tempfile::tempdir().unwrap(),
            tempfile::tempdir().unwrap(),
            tempfile::tempdir().unwrap(),
        );
        data(clips.path());
        let (package, epochs) = trained(clips.path(), first.path(), |_| {});
        assert_eq!(epochs, 2);
        let (again, _) = trained(clips.path(), second.path(), |_| {});
        assert_eq!(package.manifest.files, again.manifest.files);

        let (network, codec) =
            load(&package, &Device::Cpu, kernels::best(), MediaLimits::default()).unwrap();
        let mut sample = golden::samples(&package).unwrap().remove(0);
        check(&package, &sample, &network, &codec).unwrap();
        let value = sample.expected["log_probabilities"][3].as_f64().unwrap();
        sample.expected["log_probabilities"][3] = json!(value + 0.01);
        let error = check(&package, &sample, &network, &codec).unwrap_err().to_string();
        assert!(error.contains("/log_probabilities/3"), "{error}");

        let curves = std::str::from_utf8(package.file("report/curves.svg").unwrap()).unwrap();
        assert!(curves.contains(">wer_real<"), "{curves}");
        let job = EvalJob { data: Some(clips.path().to_owned()), on_bad_sample: OnBadSample::Fail };
        let report = evaluate(&package, &job, &Device::Cpu).unwrap();
        assert_eq!(report.metrics, package.manifest.metrics);
    }

    /// Trains on a list of such clips; what is left out, or why it is refused.
    fn listed(
        clips: &[(&str, Vec<u8>, &str)],
        on_bad_sample: OnBadSample,
        edit: impl Fn(&mut crate::arch::Recipe),
    ) -> Result<(Vec<String>, Package), TrainError> {
        let directory = tempfile::tempdir().unwrap();
        let mut list = String::new();
        for (i, (text, sound, split)) in clips.iter().enumerate() {
            let audio = format!("{i}.wav");
            fs::write(directory.path().join(&audio), sound).unwrap();
            writeln!(list, "{}", json!({"audio": audio, "text": text, "split": split})).unwrap();
        }
        fs::write(directory.path().join("clips.jsonl"), list).unwrap();
        let mut recipe: crate::arch::Recipe = toml::from_str(RECIPE).unwrap();
        edit(&mut recipe);
        let mut job = TrainJob {
            recipe,
            recipe_text: RECIPE.to_owned(),
            command: "maas train".to_owned(),
            source_revision: "test".to_owned(),
            data: Some(directory.path().to_owned()),
            seed: 5,
            on_bad_sample,
            out: directory.path().join("out"),
            parent: None,
            freeze: Vec::new(),
            resume: false,
            report: &mut |_| {},
        };
        fs::create_dir_all(job.out.join("tones")).unwrap();
        let report = train(&mut job, &Device::Cpu)?;
        Ok((report.left_out, Package::open(&report.place).unwrap()))
    }

    /// The first samples of a sound, and its head.
    fn beginning(sound: &[u8], samples: usize) -> Vec<u8> {
        let mut cut = sound[..44 + samples * 2].to_vec();
        cut[40..44].copy_from_slice(&(samples as u32 * 2).to_le_bytes());
        cut
    }

    #[test]
    fn a_clip_that_nothing_can_be_learned_from_is_a_bad_sample() {
        let good = [("a b", spoken("a b"), "train"), ("b a", spoken("b a"), "test")];
        let bad = [
            ("a", beginning(&spoken("a"), 79), "shorter than a mel frame's hop"),
            ("abababababab", spoken("a"), "its text needs at least 12"),
            ("a", spoken(&"a".repeat(40)), "at most positions_max, 64"),
        ];
        for (text, sound, reason) in bad {
            let clips = [good.as_slice(), &[(text, sound, "train")]].concat();
            let error = listed(&clips, OnBadSample::Fail, |_| {}).err().unwrap().to_string();
            assert!(error.contains("line 3: 2.wav") && error.contains(reason), "{error}");
            let (left_out, _) = listed(&clips, OnBadSample::Skip, |_| {}).unwrap();
            assert!(left_out.len() == 1 && left_out[0].contains(reason), "{left_out:?}");
        }
    }

    #[test]
    fn where_only_people_are_measured_on_they_choose_the_epoch() {
        let clips = [("a b", spoken("a b"), "train"), ("b a", spoken("b a"), "real")];
        let (_, package) = listed(&clips, OnBadSample::Fail, |r| r.fit.patience = 1).unwrap();
        assert!(package.manifest.metrics.contains_key("wer_real"));
        assert!(package.manifest.training.unwrap().chosen_on_test);
    }

    #[test]
    fn another_task_is_refused_before_the_data_is_read() {
        let refused = listed(&[], OnBadSample::Fail, |r| r.task = "text-generation".to_owned());
        let error = refused.err().unwrap().to_string();
        assert!(error.contains("task") && error.contains("expected speech-recognition"), "{error}");
        let clips = [("a b", spoken("a b"), "train"), ("b a", spoken("b a"), "test")];
        let (_, mut package) = listed(&clips, OnBadSample::Fail, |_| {}).unwrap();
        let opens = |package: &Package| {
            let opened = load(package, &Device::Cpu, kernels::best(), MediaLimits::default());
            opened.map(drop).map_err(|error| error.to_string())
        };
        opens(&package).unwrap();
        package.manifest.inputs[0].shape = vec![16];
        assert!(opens(&package).unwrap_err().contains("inputs"));
        package.manifest.task = "text-generation".to_owned();
        assert!(opens(&package).unwrap_err().contains("expected speech-recognition"));
    }

    #[test]
    fn no_epochs_pack_fresh_weights() {
        let (clips, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        data(clips.path());
        let (package, epochs) = trained(clips.path(), out.path(), |r| r.fit.epochs = 0);
        assert_eq!(epochs, 0);
        load(&package, &Device::Cpu, kernels::best(), MediaLimits::default()).unwrap();
    }

    #[test]
    fn a_configuration_that_cannot_be_is_refused_by_its_key() {
        let refuse = |edit: &dyn Fn(&mut toml::Table)| {
            let mut recipe: crate::arch::Recipe = toml::from_str(RECIPE).unwrap();
            edit(&mut recipe.architecture.config);
            section::<Config>("architecture.config", &recipe.architecture.config)
                .and_then(|config| config.check())
                .unwrap_err()
                .to_string()
        };
        let heads = refuse(&|table| drop(table.insert("heads".into(), 3.into())));
        assert!(heads.contains("heads: expected a divisor of width"), "{heads}");
        let layers = refuse(&|table| drop(table.insert("layers".into(), 0.into())));
        assert!(layers.contains("layers"), "{layers}");
        let colour = refuse(&|table| drop(table.insert("colour".into(), 1.into())));
        assert!(colour.contains("colour"), "{colour}");
    }
}
