//! The training loop: truncated backpropagation through time over streams whose state is carried on.

use std::collections::BTreeMap;

use candle_core::Tensor;

use crate::arch::gru::language::TextLanguage;
use crate::arch::gru::net::RecurrentModel;
use crate::arch::gru::packed::PackedModel;
use crate::arch::gru::plan::{Plan, too_little};
use crate::arch::gru::score::{Score, score};
use crate::arch::gru::streams::Streams;
use crate::arch::{Goal, Learner, Lesson, TrainError};
use crate::compute::fit::cross_entropy;
use crate::compute::kernels;
use crate::compute::layers::{LayerState, Mode};
use crate::dataset::Store;
use crate::engine::{Generator, TokenId};

/// What is learned from and measured on.
pub struct Texts<'a> {
    plan: &'a Plan,
    model: &'a RecurrentModel,
    streams: Streams<'a>,
}

impl<'a> Texts<'a> {
    /// Cuts the plan's text into `rows` streams.
    ///
    /// # Errors
    /// [`TrainError::Data`] when the text is too short for them.
    pub fn new(plan: &'a Plan, model: &'a RecurrentModel, rows: usize) -> Result<Self, TrainError> {
        let streams = Streams::new(&plan.train, rows, plan.sequence).ok_or_else(|| {
            let tokens = plan.train.len();
            TrainError::Data(format!("{tokens} tokens are too few for fit.batch = {rows} streams"))
        })?;
        Ok(Self { plan, model, streams })
    }

    fn window(
        &self,
        window: usize,
        states: &mut [LayerState],
        learner: &mut Learner<'_>,
    ) -> Result<f64, TrainError> {
        let mode = &mut Mode::Training(&mut learner.rng);
        // Truncated backpropagation through time: values flow on, gradients do not.
        let window = self.streams.window(window)?;
        let inputs: Vec<_> = window.inputs().collect();
        let outputs = self.model.window(&inputs, states, mode)?;
        // One product for all steps; time-major, as the targets are.
        let logits = self.model.logits(&outputs)?;
        let targets = Tensor::new(window.targets(), logits.device())?;
        learner.descend(&cross_entropy(&logits, &targets, 0.0)?)
    }
}

impl Lesson for Texts<'_> {
    fn steps(&self) -> usize {
        self.streams.windows()
    }

    /// Every window once, in order; the mean loss in nats a token.
    fn epoch(&mut self, learner: &mut Learner<'_>) -> Result<f64, TrainError> {
        let mut states = self.model.fold()?.zeros(self.streams.rows())?;
        let mut sum = 0.0;
        for window in 0..self.streams.windows() {
            sum += self.window(window, &mut states, learner)?;
        }
        #[expect(clippy::cast_precision_loss, reason = "a count of windows is small")]
        let windows = self.streams.windows() as f64;
        Ok(sum / windows)
    }

    fn measure(&mut self) -> Result<BTreeMap<String, f64>, TrainError> {
        let (model, plan) = (self.model.detach(), self.plan);
        let score = if model.embedding().device().is_cpu() {
            let packed = PackedModel::new(&model, kernels::best())?;
            measure(&packed, &plan.language, plan.watched())?
        } else {
            measure(&model.fold()?, &plan.language, plan.watched())?
        };
        Ok(BTreeMap::from([
            ("bits_per_char".to_owned(), score.bits_per_character),
            ("perplexity".to_owned(), score.nats_per_token.exp()),
        ]))
    }

    fn goal(&self) -> Goal {
        Goal { metric: "bits_per_char", rises: false }
    }
}

/// How well `model` foretells `tokens`.
///
/// # Errors
/// [`TrainError`] for less than two tokens, or when the arithmetic fails.
pub fn measure(
    model: &impl Generator,
    language: &TextLanguage,
    tokens: &Store<TokenId>,
) -> Result<Score, TrainError> {
    score(model, language, tokens).map_err(candle_core::Error::wrap)?.ok_or_else(too_little)
}
