//! A transformer's hyperparameters, as the manifest holds them.

use serde::Deserialize;

use crate::arch::OpenError;
pub use crate::arch::transformer::block::NormPlace;
use crate::compute::layers::Activation;
use crate::media::mel::MelConfig;

/// `[architecture.config]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(default)]
    pub kind: Kind,
    /// Mel frames that each position of the network advances.
    pub stride: usize,
    /// Mel frames that each position sees at the network's input.
    pub context: usize,
    pub width: usize,
    pub layers: usize,
    pub heads: usize,
    /// Width of the feed-forward parts.
    pub hidden: usize,
    pub activation: Activation,
    /// Training only.
    pub dropout: f32,
    /// Positions that a sample may have at most.
    pub positions_max: usize,
    #[serde(default)]
    pub positions: Positions,
    #[serde(default)]
    pub norm: NormPlace,
    /// The only words that are heard; without any, characters may form every word.
    #[serde(default)]
    pub words: Vec<String>,
}

/// Packages of before there were others do not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    #[default]
    Ctc,
}

/// How the network knows where a position is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Positions {
    /// Sines and cosines (Vaswani et al. 2017); no tensor.
    #[default]
    Sinusoidal,
    /// The tensor `positions`, [`positions_max`, width].
    Learned,
}

/// `[preprocessing]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    pub mel: MelConfig,
    /// Longer sound is cut at quiet places into windows of at most this.
    pub window_seconds: f32,
}

impl Config {
    /// # Errors
    /// [`OpenError::Config`] with the first key that cannot be.
    pub fn check(&self) -> Result<(), OpenError> {
        let faults = [
            ((1..=16).contains(&self.stride), "stride: expected 1 to 16"),
            ((1..=64).contains(&self.context), "context: expected 1 to 64"),
            ((2..=4096).contains(&self.width), "width: expected 2 to 4096"),
            (self.width.is_multiple_of(2), "width: expected an even number"),
            ((1..=64).contains(&self.layers), "layers: expected 1 to 64"),
            ((1..=self.width).contains(&self.heads), "heads: expected 1 to width"),
            (
                self.heads > 0 && self.width.is_multiple_of(self.heads),
                "heads: expected a divisor of width",
            ),
            ((1..=16_384).contains(&self.hidden), "hidden: expected 1 to 16384"),
            ((0.0..1.0).contains(&self.dropout), "dropout: expected 0 or more, below 1"),
            ((1..=8192).contains(&self.positions_max), "positions_max: expected 1 to 8192"),
        ];
        refuse_first("architecture.config", &faults)
    }

    /// How many positions `frames` mel frames make.
    #[must_use]
    pub fn positions(&self, frames: usize) -> usize {
        frames.div_ceil(self.stride)
    }
}

impl Preprocessing {
    /// # Errors
    /// [`OpenError::Config`] when the mel cannot be computed, or a window has more positions than the
    /// network.
    pub fn check(&self, config: &Config) -> Result<(), OpenError> {
        self.mel
            .check()
            .map_err(|reason| OpenError::Config { section: "preprocessing.mel", reason })?;
        let good = (0.1..=600.0).contains(&self.window_seconds);
        refuse_first("preprocessing", &[(good, "window_seconds: expected 0.1 to 600")])?;
        let positions = config.positions(self.mel.frames(self.window_samples()));
        let fits = positions <= config.positions_max;
        refuse_first("preprocessing", &[(fits, "window_seconds: more than positions_max allow")])
    }

    /// Samples in the longest window.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "seconds are checked to be positive and at most 600"
    )]
    pub fn window_samples(&self) -> usize {
        (f64::from(self.window_seconds) * f64::from(self.mel.sample_rate)) as usize
    }
}

/// The first check that does not hold, as an error.
pub fn refuse_first(section: &'static str, checks: &[(bool, &str)]) -> Result<(), OpenError> {
    match checks.iter().find(|(good, _)| !good) {
        None => Ok(()),
        Some((_, fault)) => Err(OpenError::Config { section, reason: (*fault).to_owned() }),
    }
}

#[cfg(test)]
impl Config {
    /// A network that learns two utterances in a second; a position every two frames.
    pub fn tiny() -> Self {
        Self {
            kind: Kind::Ctc,
            stride: 2,
            context: 3,
            width: 16,
            layers: 2,
            heads: 2,
            hidden: 32,
            activation: Activation::Relu,
            dropout: 0.0,
            positions_max: 64,
            positions: Positions::Sinusoidal,
            norm: NormPlace::Pre,
            words: Vec::new(),
        }
    }
}
