//! The network on a CPU: weights packed once, at load, and every pass one of the kernels'. It computes
//! what the graph does, from the same [`Weights`](super::weights::Weights).

mod block;
mod decoder;
mod encoder;

use std::sync::Arc;

use candle_core::Result;

use crate::arch::transformer::whisper::config::Head;
use crate::arch::transformer::whisper::graph::Graph;
use crate::arch::transformer::whisper::speech::Speech;
use crate::compute::kernels::{KeyValues, Level, Scratch};
use crate::engine::{Row, RunError, Stepwise, TokenId};
use crate::media::mel::Spectrogram;

use decoder::Decoder;
use encoder::Encoder;

/// A network ready to run, shared by all threads.
pub struct Plan {
    level: Level,
    encoder: Encoder,
    decoder: Decoder,
}

/// What the decoder hears of one window: keys and values by layer.
pub struct Audio {
    layers: Vec<KeyValues>,
}

/// What one sequence hears and has read: keys and values by layer.
#[derive(Clone)]
pub struct State {
    audio: Arc<Audio>,
    layers: Vec<KeyValues>,
}

impl Plan {
    /// # Errors
    /// When the weights cannot be copied from their device.
    pub fn new(graph: &Graph, level: Level) -> Result<Self> {
        let Graph { config, weights, .. } = graph;
        Ok(Self {
            level,
            encoder: Encoder::new(&weights.encoder, config, level)?,
            decoder: Decoder::new(&weights.decoder, config, level)?,
        })
    }
}

impl Speech for Plan {
    type Audio = Audio;

    fn positions(&self, window: &Spectrogram) -> std::result::Result<Vec<f32>, RunError> {
        self.encoder.run(self.level, window)
    }

    fn encode(&self, window: &Spectrogram) -> std::result::Result<Audio, RunError> {
        let encoded = self.positions(window)?;
        Ok(Audio { layers: self.decoder.hear(self.level, &encoded) })
    }

    fn attend(
        &self,
        audio: &Arc<Audio>,
        tokens: &[TokenId],
        heads: &[Head],
        show: &mut dyn FnMut(&[f32]),
    ) -> std::result::Result<(), RunError> {
        let state = &mut self.begin(audio);
        let row = Row { state, tokens, want_logits: false };
        self.decoder.check(&row)?;
        self.decoder.read(self.level, &mut [row], &Scratch::default(), |layer, queries| {
            for &Head(_, at) in heads.iter().filter(|head| head.0 == layer) {
                show(&audio.layers[layer].scores(at, queries));
            }
        });
        Ok(())
    }

    fn begin(&self, audio: &Arc<Audio>) -> State {
        State { audio: Arc::clone(audio), layers: self.decoder.begin() }
    }
}

impl Stepwise for Plan {
    type State = State;

    /// A product takes the rows of all sequences, so that weights are read once a step; the kernels
    /// promise that a row's bits are the same alone.
    fn step(
        &self,
        rows: &mut [Row<'_, State>],
        logits: &mut Vec<f32>,
    ) -> std::result::Result<(), RunError> {
        rows.iter().try_for_each(|row| self.decoder.check(row))?;
        self.decoder.step(self.level, rows, &Scratch::default(), logits);
        Ok(())
    }
}
