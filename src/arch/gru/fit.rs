//! The training loop: truncated backpropagation through time over streams whose state is carried on.

use std::collections::BTreeMap;
use std::time::Instant;

use candle_core::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::arch::gru::language::TextLanguage;
use crate::arch::gru::net::RecurrentModel;
use crate::arch::gru::plan::{Plan, too_little};
use crate::arch::gru::score::{Score, score};
use crate::arch::gru::streams::Streams;
use crate::arch::{EpochReport, TrainError, TrainJob};
use crate::compute::Trainable;
use crate::compute::fit::{Optimiser, Schedule, cross_entropy};
use crate::compute::layers::{LayerState, Mode};
use crate::engine::{Generator, TokenId};

/// Above this the perplexity is no number any longer.
const NATS_MAX: f64 = 700.0;

/// Trains `model`, whose variables are those of `parameters`, and reports each epoch.
///
/// # Errors
/// [`TrainError::Data`] when the text is too short for the batch, [`TrainError::Diverged`] when the
/// loss or a gradient stops being a number.
pub fn fit(
    job: &mut TrainJob<'_>,
    plan: &Plan,
    model: &RecurrentModel,
    parameters: &Trainable,
) -> Result<(), TrainError> {
    let section = &job.recipe.fit;
    let streams = Streams::new(&plan.train, section.batch, plan.sequence).ok_or_else(|| {
        let (tokens, rows) = (plan.train.len(), section.batch);
        TrainError::Data(format!("{tokens} tokens are too few for fit.batch = {rows} streams"))
    })?;
    let mut learner = Learner {
        model,
        optimiser: Optimiser::new(section.optimiser.clone(), parameters.variables())?,
        schedule: section.schedule,
        learning_rate: section.optimiser.learning_rate,
        rng: ChaCha8Rng::seed_from_u64(job.seed),
        step: 0,
        steps: section.epochs * streams.windows(),
    };
    for epoch in 1..=section.epochs {
        let start = Instant::now();
        let train_loss = learner.epoch(&streams)?;
        let held_out = measure(&model.detach().fold()?, &plan.language, plan.watched())?;
        learner.sound(held_out.nats_per_token)?;
        (job.report)(&EpochReport {
            epoch,
            train_loss,
            metrics: BTreeMap::from([("bits_per_char".to_owned(), held_out.bits_per_character)]),
            seconds: start.elapsed().as_secs_f64(),
        });
    }
    Ok(())
}

/// What changes from step to step.
struct Learner<'a> {
    model: &'a RecurrentModel,
    optimiser: Optimiser,
    schedule: Schedule,
    learning_rate: f64,
    /// Draws what dropout zeroes.
    rng: ChaCha8Rng,
    step: usize,
    steps: usize,
}

impl Learner<'_> {
    /// Every window once, in order. Returns the mean loss, in nats a token.
    fn epoch(&mut self, streams: &Streams<'_>) -> Result<f64, TrainError> {
        let mut states = self.model.fold()?.zeros(streams.rows())?;
        let mut sum = 0.0;
        for window in 0..streams.windows() {
            // Truncated backpropagation through time: values flow on, gradients do not.
            states = states.iter().map(LayerState::detach).collect();
            sum += self.window(streams, window, &mut states)?;
        }
        #[expect(clippy::cast_precision_loss, reason = "a count of windows is small")]
        let windows = streams.windows() as f64;
        Ok(sum / windows)
    }

    fn window(
        &mut self,
        streams: &Streams<'_>,
        window: usize,
        states: &mut [LayerState],
    ) -> Result<f64, TrainError> {
        let folded = self.model.fold()?;
        let mut outputs = Vec::new();
        for tokens in streams.inputs(window) {
            let tokens = Tensor::new(tokens, folded.device())?;
            outputs.push(folded.advance(&tokens, states, &mut Mode::Training(&mut self.rng))?);
        }
        // One product for all steps; time-major, as the targets are.
        let logits = folded.logits(&Tensor::cat(&outputs, 0)?)?;
        let targets = Tensor::new(streams.targets(window), folded.device())?;
        let loss = cross_entropy(&logits, &targets, 0.0)?;
        let value = self.sound(f64::from(loss.to_scalar::<f32>()?))?;
        let norm = self.optimiser.step(&loss.backward()?, self.factor())?;
        if !norm.is_finite() {
            return Err(self.diverged(value));
        }
        self.step += 1;
        Ok(value)
    }

    fn factor(&self) -> f64 {
        self.schedule.factor(self.step, self.steps)
    }

    /// The loss, when it is one to go on from.
    fn sound(&self, loss: f64) -> Result<f64, TrainError> {
        // Written so that NaN is none.
        if loss < NATS_MAX { Ok(loss) } else { Err(self.diverged(loss)) }
    }

    fn diverged(&self, loss: f64) -> TrainError {
        let learning_rate = self.learning_rate * self.factor();
        TrainError::Diverged { step: self.step, loss, learning_rate }
    }
}

/// How well `model` foretells `tokens`.
///
/// # Errors
/// [`TrainError`] for less than two tokens, or when the arithmetic fails.
pub fn measure(
    model: &impl Generator,
    language: &TextLanguage,
    tokens: &[TokenId],
) -> Result<Score, TrainError> {
    score(model, language, tokens).map_err(candle_core::Error::wrap)?.ok_or_else(too_little)
}
