//! What decoding asks of a network, whichever way it computes.

use std::sync::Arc;

use crate::arch::transformer::whisper::config::Head;
use crate::engine::{RunError, Stepwise, TokenId};
use crate::media::mel::Spectrogram;

/// An encoder of sound and a decoder of text that listens to it. A step is an error when a row has no token, more
/// than there are positions, or one that is not in the vocabulary, or when the arithmetic fails. A clone of a state
/// is a fork.
pub trait Speech: Stepwise<State: Clone> {
    /// What the decoder hears of one window: keys and values of its cross-attention.
    type Audio: Send + Sync + 'static;

    /// What the encoder makes of a window of exactly the network's number of frames:
    /// [`audio_positions`, width].
    ///
    /// # Errors
    /// When the window has another size, or the arithmetic fails.
    fn positions(&self, window: &Spectrogram) -> Result<Vec<f32>, RunError>;

    /// Encodes a window of exactly the network's number of frames.
    ///
    /// # Errors
    /// When the window has another size, or the arithmetic fails.
    fn encode(&self, window: &Spectrogram) -> Result<Self::Audio, RunError>;

    /// Reads a whole text, and shows what some heads of the cross-attention listen to meanwhile: their scores before
    /// softmax, [tokens, `audio_positions`], one head after the other.
    ///
    /// # Errors
    /// As a step.
    fn attend(
        &self,
        audio: &Arc<Self::Audio>,
        tokens: &[TokenId],
        heads: &[Head],
        show: &mut dyn FnMut(&[f32]),
    ) -> Result<(), RunError>;

    /// The decoder's state before any token.
    fn begin(&self, audio: &Arc<Self::Audio>) -> Self::State;
}
