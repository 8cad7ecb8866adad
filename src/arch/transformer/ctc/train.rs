//! Training on spoken clips: CTC, length-sorted batches, augmentation, and a package at the end.

use std::collections::BTreeMap;
use std::time::Instant;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use crate::arch::golden::{GoldenSample, TOLERANCE};
use crate::arch::pack::{self, Signature};
use crate::arch::transformer::ctc::augment::Augment;
use crate::arch::transformer::ctc::config::{Config, Preprocessing};
use crate::arch::transformer::ctc::corpus::{Corpus, Utterance};
use crate::arch::transformer::ctc::golden_answer;
use crate::arch::transformer::ctc::loss::batch_loss;
use crate::arch::transformer::ctc::net::Transformer;
use crate::arch::transformer::ctc::transcript::CHARACTERS_FILE;
use crate::arch::{EpochReport, TrainError, TrainJob, TrainReport, section};
use crate::compute::fit::Optimiser;
use crate::compute::layers::Mode;
use crate::compute::{Device, Trainable};
use crate::domain::{Datatype, TensorSpec};
use crate::media::mel::Spectrogram;
use crate::package::WEIGHTS_FILE;

/// Trains what the recipe says and packs it.
///
/// # Errors
/// [`TrainError`] when the recipe or the data cannot be used, or training diverges.
pub fn train(job: &mut TrainJob<'_>, device: &Device) -> Result<TrainReport, TrainError> {
    let recipe = &job.recipe;
    let config: Config = section("architecture.config", &recipe.architecture.config)?;
    config.check()?;
    let preprocessing: Preprocessing = section("preprocessing", &recipe.preprocessing)?;
    preprocessing.check(&config)?;
    let augment: Augment = section("fit.options", &recipe.fit.options)?;
    augment.check()?;
    if recipe.fit.batch == 0 {
        return Err(TrainError::Data("fit.batch is 0: expected 1 or more clips in a step".into()));
    }
    let corpus = Corpus::load(job, &preprocessing, &config)?;

    let longest = config.positions(augment.frames_max(corpus.longest()));
    if longest > config.positions_max {
        return Err(TrainError::Data(format!(
            "the longest clip, stretched and padded, has {longest} positions: expected at most \
             positions_max, {}",
            config.positions_max
        )));
    }

    let mut parameters = Trainable::new(job.seed, device);
    let classes = corpus.characters.classes();
    let network =
        Transformer::new(&mut parameters, &config, preprocessing.mel.mels, classes, device)?;
    let mut fit = Fit {
        optimiser: Optimiser::new(recipe.fit.optimiser.clone(), parameters.variables())?,
        rng: ChaCha8Rng::seed_from_u64(job.seed.wrapping_add(1)),
        positions_max: config.positions_max,
        augment,
        network: &network,
        corpus: &corpus,
        step: 0,
        skipped: 0,
    };
    let metrics = fit.all(job)?;
    let weights = parameters.to_safetensors()?;
    write(job, &corpus, &network, weights, metrics)
}

/// A run of training.
struct Fit<'a> {
    network: &'a Transformer,
    corpus: &'a Corpus,
    augment: Augment,
    optimiser: Optimiser,
    rng: ChaCha8Rng,
    positions_max: usize,
    step: usize,
    /// Rows that had too few positions for their text, in this epoch.
    skipped: usize,
}

impl Fit<'_> {
    /// Every epoch; the metrics of the last.
    #[expect(clippy::cast_precision_loss, reason = "a count of clips")]
    fn all(&mut self, job: &mut TrainJob<'_>) -> Result<BTreeMap<String, f64>, TrainError> {
        let fit = job.recipe.fit.clone();
        let steps = self.corpus.train.len().div_ceil(fit.batch) * fit.epochs;
        let mut metrics = self.corpus.measured.watch(self.network, &self.corpus.codec)?;
        for epoch in 1..=fit.epochs {
            let began = Instant::now();
            let (mut sum, mut count) = (0.0, 0.0);
            for batch in self.batches(fit.batch) {
                sum += self.learn(
                    &batch,
                    |step| fit.schedule.factor(step, steps),
                    fit.optimiser.learning_rate,
                )?;
                count += 1.0;
            }
            metrics = self.corpus.measured.watch(self.network, &self.corpus.codec)?;
            let mut told = metrics.clone();
            told.insert("skipped".to_owned(), std::mem::take(&mut self.skipped) as f64);
            (job.report)(&EpochReport {
                epoch,
                train_loss: sum / count,
                metrics: told,
                seconds: began.elapsed().as_secs_f64(),
            });
        }
        if self.corpus.measured.validation.is_empty() {
            return Ok(metrics);
        }
        self.corpus.measured.score(self.network, &self.corpus.codec)
    }

    /// Clips of nearly one length together, so that little is padded, in an order by chance.
    fn batches(&mut self, size: usize) -> Vec<Vec<usize>> {
        let mut keyed: Vec<(usize, usize)> = self
            .corpus
            .train
            .iter()
            .enumerate()
            // Some chance in the length, so that batches differ from epoch to epoch.
            .map(|(i, clip)| (clip.log_mels.frames() * 8 + self.rng.random_range(0..160), i))
            .collect();
        keyed.sort_unstable();
        let mut batches: Vec<Vec<usize>> =
            keyed.chunks(size).map(|chunk| chunk.iter().map(|&(_, i)| i).collect()).collect();
        batches.shuffle(&mut self.rng);
        batches
    }

    /// One step; its loss per character.
    fn learn(
        &mut self,
        batch: &[usize],
        factor: impl Fn(usize) -> f64,
        learning_rate: f64,
    ) -> Result<f64, TrainError> {
        let corpus = self.corpus;
        let clips: Vec<(Spectrogram, &[usize])> =
            batch.iter().map(|&i| self.augmented(&corpus.train[i])).collect();
        let rows: Vec<&Spectrogram> = clips.iter().map(|(row, _)| row).collect();
        let targets: Vec<&[usize]> = clips.iter().map(|&(_, target)| target).collect();
        let lengths: Vec<usize> = rows.iter().map(|row| self.network.positions(row)).collect();
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let offset = self.rng.random_range(0..=self.positions_max - longest);
        let logits = self.network.logits(&rows, offset, &mut Mode::Training(&mut self.rng))?;
        let loss = batch_loss(&logits, &lengths, &targets)?;
        let factor = factor(self.step);
        // A loss can be the last number before a gradient that is none.
        let sound = loss.loss.is_finite()
            && self.optimiser.step(&loss.surrogate.backward()?, factor)?.is_finite();
        if !sound {
            let learning_rate = learning_rate * factor;
            return Err(TrainError::Diverged { step: self.step, loss: loss.loss, learning_rate });
        }
        self.step += 1;
        self.skipped += loss.skipped;
        Ok(loss.loss)
    }

    /// A clip as this step hears it, not longer than the network reaches.
    fn augmented<'u>(&mut self, clip: &'u Utterance) -> (Spectrogram, &'u [usize]) {
        let mel = self.corpus.codec.mel();
        let silent = self.rng.random_bool(self.augment.silence);
        let mut made = if silent {
            Augment::room(clip.log_mels.mels, &mut self.rng)
        } else {
            self.augment.raw(&clip.log_mels, &mut self.rng)
        };
        mel.normalise(&mut made);
        self.augment.mask(&mut made, &mut self.rng);
        (made, if silent { &[] } else { &clip.target })
    }
}

fn write(
    job: &TrainJob<'_>,
    corpus: &Corpus,
    network: &Transformer,
    weights: Vec<u8>,
    metrics: BTreeMap<String, f64>,
) -> Result<TrainReport, TrainError> {
    let mut files = BTreeMap::from([
        (WEIGHTS_FILE.to_owned(), weights),
        (CHARACTERS_FILE.to_owned(), corpus.characters.to_json()),
    ]);
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
    let manifest = pack::manifest(job, signature(), metrics, corpus.receipt.clone());
    pack::write(job, manifest, files, &[sample], corpus.left_out.clone())
}

/// A waveform in, a text out.
fn signature() -> Signature {
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
