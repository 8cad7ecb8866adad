//! The network on a CPU: weights packed once, at load, and every pass one of the kernels'. It computes
//! what the graph does, from the same [`Weights`](super::weights::Weights).

mod block;
mod decoder;
mod encoder;

use candle_core::Result;

use crate::arch::transformer::whisper::graph::Graph;
use crate::arch::transformer::whisper::speech::{Row, Speech};
use crate::compute::kernels::{KeyValues, Level, Scratch};
use crate::engine::{Logits, RunError};
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

/// What one sequence has read: keys and values by layer.
#[derive(Clone)]
pub struct Cache {
    layers: Vec<KeyValues>,
}

impl Plan {
    /// # Errors
    /// When the weights cannot be copied from their device.
    pub fn new(graph: &Graph, level: Level) -> Result<Self> {
        let Graph { config, weights, .. } = graph;
        Ok(Self {
            level,
            encoder: Encoder::new(&weights.encoder, config)?,
            decoder: Decoder::new(&weights.decoder, config)?,
        })
    }
}

impl Speech for Plan {
    type Audio = Audio;
    type Cache = Cache;

    fn positions(&self, window: &Spectrogram) -> std::result::Result<Vec<f32>, RunError> {
        self.encoder.run(self.level, window)
    }

    /// One by one: a window alone keeps every kernel busy.
    fn encode(&self, windows: &[&Spectrogram]) -> std::result::Result<Vec<Audio>, RunError> {
        let one = |window: &&Spectrogram| {
            let encoded = self.positions(window)?;
            Ok(Audio { layers: self.decoder.hear(self.level, &encoded) })
        };
        windows.iter().map(one).collect()
    }

    fn begin(&self) -> Cache {
        Cache { layers: self.decoder.begin() }
    }

    /// A product takes the rows of all sequences, so that weights are read once a step; the kernels
    /// promise that a row's bits are the same alone.
    fn step(
        &self,
        rows: &mut [Row<'_, Audio, Cache>],
    ) -> std::result::Result<Vec<Logits>, RunError> {
        rows.iter().try_for_each(|row| self.decoder.check(row))?;
        Ok(self.decoder.step(self.level, rows, &mut Scratch::default()))
    }
}
