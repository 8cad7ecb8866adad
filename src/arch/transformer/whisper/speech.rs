//! What decoding asks of a network, whichever way it computes.

use crate::engine::{Logits, RunError, TokenId};
use crate::media::mel::Spectrogram;

/// An encoder of sound and a decoder of text that listens to it.
pub trait Speech: Send + Sync + 'static {
    /// What the decoder hears of one window: keys and values of its cross-attention.
    type Audio: Send + Sync;
    /// What the decoder remembers of the tokens it has read. A clone is a fork.
    type Cache: Clone + Send;

    /// What the encoder makes of a window of exactly the network's number of frames:
    /// [`audio_positions`, width].
    ///
    /// # Errors
    /// When the window has another size, or the arithmetic fails.
    fn positions(&self, window: &Spectrogram) -> Result<Vec<f32>, RunError>;

    /// Encodes windows, each of exactly the network's number of frames.
    ///
    /// # Errors
    /// When a window has another size, or the arithmetic fails.
    fn encode(&self, windows: &[&Spectrogram]) -> Result<Vec<Self::Audio>, RunError>;

    /// The memory before any token.
    fn begin(&self) -> Self::Cache;

    /// Reads each row's tokens into its memory; the logits after the last of them, in order.
    ///
    /// # Errors
    /// When a row has no token, more than there are positions, or one that is not in the vocabulary, or
    /// when the arithmetic fails.
    fn step(&self, rows: &mut [Row<'_, Self::Audio, Self::Cache>])
    -> Result<Vec<Logits>, RunError>;
}

/// One sequence's part in a step.
pub struct Row<'a, A, C> {
    pub audio: &'a A,
    pub cache: &'a mut C,
    pub tokens: &'a [TokenId],
}
