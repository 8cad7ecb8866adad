//! What changes from step to step, whatever is learned.

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::arch::train::{Event, FitSection, StepReport, TrainError};
use crate::compute::fit::{Optimiser, Schedule};
use crate::compute::{Named, Trainable};

/// An optimiser on its way through the schedule, and the run's random numbers.
pub struct Learner<'a> {
    optimiser: Optimiser,
    schedule: Schedule,
    /// Peak learning rate.
    peak: f64,
    /// Draws orders, dropout and augmentation.
    pub rng: ChaCha8Rng,
    /// Steps that are done.
    step: usize,
    /// Steps of all epochs, and of one.
    steps: usize,
    steps_of_epoch: usize,
    told: &'a mut dyn FnMut(Event<'_>),
}

/// Where a learner stands, beside its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    pub step: usize,
    /// Words that were drawn of the random numbers.
    pub drawn: u64,
}

impl<'a> Learner<'a> {
    /// Stands before the first of `steps_of_epoch` × `section.epochs` steps.
    ///
    /// # Errors
    /// When the optimiser's moments cannot be allocated.
    pub fn new(
        section: &FitSection,
        parameters: &Trainable,
        seed: u64,
        steps_of_epoch: usize,
        told: &'a mut dyn FnMut(Event<'_>),
    ) -> Result<Self, TrainError> {
        // Fresh parameters come from stream 0 of the same seed.
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(1);
        Ok(Self {
            optimiser: Optimiser::new(section.optimiser.clone(), parameters.variables())?,
            schedule: section.schedule,
            peak: section.optimiser.learning_rate,
            rng,
            step: 0,
            steps: section.epochs * steps_of_epoch,
            steps_of_epoch,
            told,
        })
    }

    /// The epoch that the next step is of, from 1.
    #[must_use]
    pub fn epoch(&self) -> usize {
        self.step / self.steps_of_epoch.max(1) + 1
    }

    /// One step down the gradient of a scalar `loss`; its value before the step.
    ///
    /// # Errors
    /// [`TrainError::Diverged`] when the loss or its gradient is not finite; nothing is updated then.
    pub fn descend(&mut self, loss: &Tensor) -> Result<f64, TrainError> {
        let value = f64::from(loss.to_scalar::<f32>()?);
        self.descend_by(value, || loss.backward())
    }

    /// One step by gradients that are found in another way, where the loss is `loss`.
    ///
    /// # Errors
    /// As [`Learner::descend`].
    pub fn descend_by(
        &mut self,
        loss: f64,
        gradients: impl FnOnce() -> candle_core::Result<GradStore>,
    ) -> Result<f64, TrainError> {
        let factor = self.schedule.factor(self.step, self.steps);
        // A loss can be the last number before a gradient that is none.
        if !loss.is_finite() || !self.optimiser.step(&gradients()?, factor)?.is_finite() {
            return Err(self.diverged(self.step, format!("the loss is {loss}")));
        }
        let learning_rate = self.peak * factor;
        let (epoch, steps) = (self.epoch(), self.steps_of_epoch);
        let step = self.step % steps.max(1) + 1;
        (self.told)(Event::Step(StepReport { epoch, step, steps, loss, learning_rate }));
        self.step += 1;
        Ok(loss)
    }

    /// The run cannot go on from what the last step left.
    pub(super) fn broke(&self, what: &str) -> TrainError {
        self.diverged(self.step.saturating_sub(1), what.to_owned())
    }

    /// `step` counts from 0.
    fn diverged(&self, step: usize, what: String) -> TrainError {
        let learning_rate = self.peak * self.schedule.factor(step, self.steps);
        TrainError::Diverged { step: step + 1, what, learning_rate }
    }

    pub(super) fn tell(&mut self, event: Event<'_>) {
        (self.told)(event);
    }

    pub(super) fn place(&self) -> Place {
        // 2^64 words are more than any run draws.
        let drawn = u64::try_from(self.rng.get_word_pos()).unwrap_or(u64::MAX);
        Place { step: self.step, drawn }
    }

    pub(super) fn moments(&self) -> Named {
        self.optimiser.moments()
    }

    /// Goes on from a place.
    pub(super) fn restore(&mut self, place: Place, moments: &Named) -> Result<(), TrainError> {
        self.optimiser.restore(place.step, moments)?;
        self.rng.set_word_pos(place.drawn.into());
        self.step = place.step;
        Ok(())
    }
}
