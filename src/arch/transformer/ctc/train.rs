//! Training on spoken clips: CTC, length-sorted batches, augmentation, and a package at the end.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::arch::golden::{GoldenSample, TOLERANCE};
use crate::arch::pack::{self, Signature};
use crate::arch::report;
use crate::arch::transformer::ctc::augment::Augment;
use crate::arch::transformer::ctc::config::{Config, Preprocessing};
use crate::arch::transformer::ctc::corpus::{Corpus, Utterance};
use crate::arch::transformer::ctc::loss::batch_loss;
use crate::arch::transformer::ctc::net::Transformer;
use crate::arch::transformer::ctc::transcript::CHARACTERS_FILE;
use crate::arch::transformer::ctc::{TASK, golden_answer};
use crate::arch::{
    Finished, Goal, Learner, Lesson, OpenError, Outputs, TrainError, TrainJob, TrainReport, adopt,
    check_task, run, section,
};
use crate::compute::layers::Mode;
use crate::compute::{Device, Trainable};
use crate::dataset::DataError;
use crate::domain::{Datatype, TensorSpec};
use crate::media::mel::Spectrogram;
use crate::package::WEIGHTS_FILE;

/// Trains what the recipe says and packs it.
///
/// # Errors
/// [`TrainError`] when the recipe or the data cannot be used, or training diverges.
pub fn train(job: &mut TrainJob<'_>, device: &Device) -> Result<TrainReport, TrainError> {
    let recipe = &job.recipe;
    check_task(&recipe.task, TASK)?;
    let config: Config = section("architecture.config", &recipe.architecture.config)?;
    config.check()?;
    let preprocessing: Preprocessing = section("preprocessing", &recipe.preprocessing)?;
    preprocessing.check(&config)?;
    let augment: Augment = section("fit.options", &recipe.fit.options)?;
    augment.check()?;
    let least = config.positions(augment.frames_max(0));
    if least > config.positions_max {
        let reason = format!(
            "pad_frames and silence alone make {least} positions: expected at most positions_max, {}",
            config.positions_max
        );
        return Err(OpenError::Config { section: "fit.options", reason }.into());
    }
    let corpus = Corpus::load(job, &preprocessing, &config, &augment)?;

    let mut parameters = Trainable::new(job.seed, device);
    let classes = corpus.characters.classes();
    let network =
        Transformer::new(&mut parameters, &config, preprocessing.mel.mels, classes, device)?;
    let outputs = Outputs {
        file: CHARACTERS_FILE,
        bytes: &corpus.characters.to_json(),
        tensors: &["output.".to_owned()],
    };
    adopt(job, &mut parameters, &outputs, device)?;
    let mut lesson = Clips {
        positions_max: config.positions_max,
        batch: job.recipe.fit.batch,
        augment,
        network: &network,
        corpus: &corpus,
        skipped: 0,
    };
    let learned = [corpus.receipt.digest, corpus.measured.digest];
    let mut finished = run(job, &parameters, device, &learned, &mut lesson)?;
    finished.metrics.remove(SKIPPED);
    if !corpus.measured.validation.is_empty() {
        finished.metrics = corpus.measured.score(&network, &corpus.codec)?;
    }
    let weights = parameters.to_safetensors()?;
    write(job, &corpus, &network, weights, finished)
}

/// What an epoch tells of itself beside its figures.
const SKIPPED: &str = "skipped";

/// What is learned from and measured on.
struct Clips<'a> {
    network: &'a Transformer,
    corpus: &'a Corpus,
    augment: Augment,
    positions_max: usize,
    /// Clips in a step.
    batch: usize,
    /// Rows that had too few positions for their text, in this epoch.
    skipped: usize,
}

impl Lesson for Clips<'_> {
    fn steps(&self) -> usize {
        self.corpus.train.len().div_ceil(self.batch)
    }

    /// Every clip once; the mean loss per character.
    #[expect(clippy::cast_precision_loss, reason = "a count of batches")]
    fn epoch(&mut self, learner: &mut Learner<'_>) -> Result<f64, TrainError> {
        self.skipped = 0;
        let batches = self.batches(&mut learner.rng);
        let count = batches.len() as f64;
        let mut sum = 0.0;
        for batch in batches {
            sum += self.learn(&batch, learner)?;
        }
        Ok(sum / count)
    }

    #[expect(clippy::cast_precision_loss, reason = "a count of clips")]
    fn measure(&mut self) -> Result<BTreeMap<String, f64>, TrainError> {
        let mut metrics = self.corpus.measured.watch(self.network, &self.corpus.codec)?;
        metrics.insert(SKIPPED.to_owned(), self.skipped as f64);
        Ok(metrics)
    }

    fn goal(&self) -> Goal {
        Goal { metric: self.corpus.measured.goal(), rises: false }
    }
}

impl Clips<'_> {
    fn batches(&self, rng: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
        let mut keyed: Vec<(usize, usize)> = self
            .corpus
            .train
            .iter()
            .enumerate()
            // Some chance in the length, so that batches differ from epoch to epoch.
            .map(|(i, clip)| (clip.frames * 8 + rng.random_range(0..160), i))
            .collect();
        keyed.sort_unstable();
        let mut batches: Vec<Vec<usize>> =
            keyed.chunks(self.batch).map(|chunk| chunk.iter().map(|&(_, i)| i).collect()).collect();
        batches.shuffle(rng);
        batches
    }

    /// One step; its loss per character.
    fn learn(&mut self, batch: &[usize], learner: &mut Learner<'_>) -> Result<f64, TrainError> {
        let rng = &mut learner.rng;
        let clips = batch.iter().map(|&i| self.augmented(&self.corpus.train[i], rng));
        let clips: Vec<(Spectrogram, &[usize])> = clips.collect::<Result<_, _>>()?;
        let rows: Vec<&Spectrogram> = clips.iter().map(|(row, _)| row).collect();
        let targets: Vec<&[usize]> = clips.iter().map(|&(_, target)| target).collect();
        let lengths: Vec<usize> = rows.iter().map(|row| self.network.positions(row)).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let offset = rng.random_range(0..=self.positions_max - longest);
        let logits = self.network.logits(&rows, offset, &mut Mode::Training(rng))?;
        let loss = batch_loss(&logits, &lengths, &targets)?;
        self.skipped += loss.skipped;
        learner.descend_by(loss.loss, || loss.surrogate.backward())
    }

    /// A clip as this step hears it, not longer than the network reaches.
    fn augmented<'u>(
        &self,
        clip: &'u Utterance,
        rng: &mut ChaCha8Rng,
    ) -> Result<(Spectrogram, &'u [usize]), DataError> {
        let mel = self.corpus.codec.mel();
        let silent = rng.random_bool(self.augment.silence);
        let mut made = if silent {
            Augment::room(mel.config().mels, rng)
        } else {
            self.augment.raw(&self.corpus.log_mels(clip)?, rng)
        };
        mel.normalise(&mut made);
        self.augment.mask(&mut made, rng);
        Ok((made, if silent { &[] } else { &clip.target }))
    }
}

fn write(
    job: &TrainJob<'_>,
    corpus: &Corpus,
    network: &Transformer,
    weights: Vec<u8>,
    finished: Finished,
) -> Result<TrainReport, TrainError> {
    let mut files = BTreeMap::from([
        (WEIGHTS_FILE.to_owned(), weights),
        (CHARACTERS_FILE.to_owned(), corpus.characters.to_json()),
    ]);
    files.extend(report::files(report::curves(&job.label(), &finished.history)?));
    let code = corpus.measured.golden(network, &corpus.codec)?;
    let answer = golden_answer(network, &corpus.codec, code.clone())
        .map_err(|reason| TrainError::Data(format!("the golden sample: {reason}")))?;
    let sample = GoldenSample {
        input: "golden/code.wav".to_owned(),
        media: "audio".to_owned(),
        expected: json!({
            "text": answer["text"],
            "duration": answer["duration"],
            "log_probabilities": answer["log_probabilities"],
        }),
        tolerance: TOLERANCE,
    };
    files.insert(sample.input.clone(), code.to_vec());
    let manifest = pack::manifest(job, signature(), finished.metrics, corpus.receipt.clone());
    pack::write(job, manifest, files, &[sample], corpus.left_out.clone())
}

/// A waveform in, a text out.
pub fn signature() -> Signature {
    let spec = |name: &str, datatype, shape: &[i64]| TensorSpec {
        name: name.to_owned(),
        datatype,
        shape: shape.to_vec(),
    };
    Signature {
        inputs: vec![spec("waveform", Datatype::Fp32, &[-1])],
        outputs: vec![spec("text", Datatype::Bytes, &[1])],
    }
}
