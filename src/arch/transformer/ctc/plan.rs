//! The network on a CPU: the graph's layers with their weights packed once, at load.

use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::Result;

use crate::arch::transformer::block::{Block, Buffers, Layers, times};
use crate::arch::transformer::ctc::config::Config;
use crate::arch::transformer::ctc::net::{self, Frames, Transformer, stack};
use crate::compute::kernels::{Activation, Level, Norm, Packed, Product, gemm};
use crate::compute::layers::LayerNorm;
use crate::engine::{Network, RunError};
use crate::media::mel::Spectrogram;

/// A network ready to run, shared by all threads.
pub struct Plan {
    level: Level,
    config: Config,
    input: Packed,
    /// [positions, width].
    positions: Vec<f32>,
    blocks: Vec<Block>,
    /// After the last block, where blocks normalise first.
    norm: Option<Norm>,
    output: Packed,
    /// One set of buffers per thread that has run it.
    idle: Mutex<Vec<Buffers>>,
}

impl Plan {
    /// # Errors
    /// When the graph's tensors cannot be copied.
    pub fn new(graph: &Transformer, level: Level) -> Result<Self> {
        let config = graph.config.clone();
        let packed = |block: &net::Block| {
            let layers = Layers {
                attention: &block.attention,
                attention_norm: &block.norm1,
                up: &block.up,
                down: &block.down,
                norm: &block.norm2,
                activation: config.activation.kernel(),
            };
            Block::new(&layers, config.norm, level)
        };
        Ok(Self {
            level,
            input: graph.input.pack(level)?,
            positions: graph.positions.flatten_all()?.to_vec1()?,
            blocks: graph.blocks.iter().map(packed).collect::<Result<_>>()?,
            norm: graph.norm.as_ref().map(LayerNorm::kernel).transpose()?,
            output: graph.output.pack(level)?,
            config,
            idle: Mutex::default(),
        })
    }

    fn frames(
        &self,
        row: &Spectrogram,
        buffers: &mut Buffers,
    ) -> std::result::Result<Frames, RunError> {
        let time = self.config.positions(row.frames());
        let places = self.positions.get(..time * self.config.width);
        let places = places.ok_or_else(|| RunError(format!("a row of {time} positions")))?;
        let stacked = stack(&self.config, row.mels, &[row], time);
        buffers.x.resize(places.len(), 0.0);
        buffers.y.resize(places.len(), 0.0);
        times(self.level, &self.input, &stacked, &mut buffers.x, Some(places), Activation::None);
        for block in &self.blocks {
            block.run(self.level, std::iter::once(time), buffers);
        }
        let Buffers { x, y, .. } = buffers;
        if let Some(norm) = &self.norm {
            norm.rows(self.level, x, y);
            std::mem::swap(x, y);
        }
        let classes = self.output.n();
        let mut scores = vec![0.0; time * classes];
        gemm(self.level, &self.output, Product::rows(&self.output, x, &mut scores));
        scores.chunks_exact_mut(classes).for_each(log_softmax);
        Ok(Frames { classes, log_probabilities: scores })
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Buffers>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn log_softmax(scores: &mut [f32]) {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f32 = scores.iter().map(|score| (score - most).exp()).sum();
    let shift = most + total.ln();
    for score in scores {
        *score -= shift;
    }
}

/// The network as the engine runs it: by its plan on a CPU, as a graph elsewhere.
pub enum Recogniser {
    Plan(Box<Plan>),
    Graph(Box<Transformer>),
}

impl Recogniser {
    /// # Errors
    /// When the graph's tensors cannot be copied.
    pub fn new(graph: Transformer, level: Level) -> Result<Self> {
        Ok(if graph.is_on_cpu() {
            Self::Plan(Box::new(Plan::new(&graph, level)?))
        } else {
            Self::Graph(Box::new(graph))
        })
    }
}

impl Network for Recogniser {
    type Sample = Spectrogram;
    type Output = Frames;

    fn cost(&self, sample: &Spectrogram) -> usize {
        match self {
            Self::Plan(plan) => plan.config.positions(sample.frames()),
            Self::Graph(graph) => graph.cost(sample),
        }
    }

    fn pads(&self) -> bool {
        matches!(self, Self::Graph(_))
    }

    /// Each row runs on its own: that is as fast, pads nothing, and makes an answer the same bits
    /// whatever else is in the batch.
    fn run(&self, batch: &[&Spectrogram]) -> std::result::Result<Vec<Frames>, RunError> {
        match self {
            Self::Graph(graph) => graph.run(batch),
            Self::Plan(plan) => {
                let Config { width, heads, .. } = plan.config;
                let idle = plan.idle().pop();
                let mut buffers = idle.unwrap_or_else(|| Buffers::new(width, heads));
                let frames = batch.iter().map(|row| plan.frames(row, &mut buffers)).collect();
                plan.idle().push(buffers);
                frames
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small numbers")]
mod tests {
    use super::*;
    use crate::arch::transformer::ctc::config::{NormPlace, Positions};
    use crate::compute::kernels::is_available;
    use crate::compute::layers;
    use crate::compute::{Device, Trainable};

    fn sound(frames: usize, seed: usize) -> Spectrogram {
        let data =
            (0..frames * 4).map(|i| ((i * 7919 + seed * 104_729) % 1000) as f32 / 250.0 - 2.0);
        Spectrogram { mels: 4, data: data.collect() }
    }

    #[test]
    fn it_answers_as_the_graph_at_every_level_and_alone_as_among_others() {
        for (norm, positions, activation) in [
            (NormPlace::Pre, Positions::Sinusoidal, layers::Activation::Relu),
            (NormPlace::Post, Positions::Learned, layers::Activation::Gelu),
        ] {
            let config = Config { activation, positions, norm, ..Config::tiny() };
            let graph = || {
                let fresh = &mut Trainable::new(3, &Device::Cpu);
                Transformer::new(fresh, &config, 4, 4, &Device::Cpu).unwrap()
            };
            let rows: Vec<Spectrogram> =
                [20, 7, 1, 33].iter().enumerate().map(|(seed, &n)| sound(n, seed)).collect();
            let batch: Vec<&Spectrogram> = rows.iter().cycle().take(32).collect();
            let expected = graph().run(&batch[..4]).unwrap();
            for level in Level::ALL.into_iter().filter(|&level| is_available(level)) {
                let plan = Recogniser::Plan(Box::new(Plan::new(&graph(), level).unwrap()));
                let got = plan.run(&batch).unwrap();
                for (row, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    assert_eq!(&plan.run(&batch[row..=row]).unwrap()[0], got, "{level}, {row}");
                    let pairs = got.log_probabilities.iter().zip(&expected.log_probabilities);
                    for (got, expected) in pairs {
                        assert!((got - expected).abs() < 1e-5, "{level}: {got} for {expected}");
                    }
                }
            }
            let long = sound(2 * 64 + 1, 0);
            let recogniser = Recogniser::new(graph(), Level::Portable).unwrap();
            assert!(recogniser.run(&[&long]).is_err());
        }
    }
}
