//! The network on a CPU: the same layers as the candle graph, with batch norms folded and weights packed
//! once, at load. A picture lies in blocks of sixteen channels, so that one kernel works on sixteen
//! channels at a time.
//!
//! A network with a layer that is not known here has no plan, and runs as the graph does.

mod fold;
mod layout;
mod sketch;
mod step;

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::arch::cnn::net::Cnn;
use crate::compute::kernels::{Activation, Frame, LANES, Level, Packed, Product, gemm, mean};

use layout::Layout;
use sketch::{Reduction, Sketch};
use step::{Arena, Step};

/// A network ready to run, shared by all threads.
pub struct Plan {
    level: Level,
    /// Per picture, up to the vector that the dense layers read.
    steps: Vec<Step>,
    frames: Vec<Frame>,
    /// Whether the first step reads planes, as a sample comes.
    planar: bool,
    last: usize,
    reduction: Reduction,
    dense: Vec<Dense>,
    outputs: usize,
    /// One a thread that has run it.
    idle: Mutex<Vec<Arena>>,
}

/// A linear layer with the activation after it.
struct Dense {
    weights: Packed,
    activation: Activation,
}

impl Plan {
    /// The plan of a network, or `None` where a layer is not known here, or its pictures take far more room
    /// in blocks than as they are.
    pub fn new(cnn: &Cnn, level: Level) -> Option<Self> {
        let sketch = Sketch::new(cnn)?;
        if !sketch.is_bounded() {
            return None;
        }
        let Layout { steps, frames, last, planar } = Layout::new(&sketch, level);
        let dense = sketch.dense.iter().enumerate().map(|(i, layer)| {
            let reads_picture = i == 0 && sketch.reduction == Reduction::Flatten;
            let weights =
                if reads_picture { layer.linear_over(&frames[last]) } else { layer.linear() };
            // As for convolutions: a sample's own values stay floats.
            let reads_sample = i == 0 && steps.is_empty();
            let weights = if reads_sample { weights } else { weights.at(level) };
            Dense { weights, activation: layer.activation }
        });
        Some(Self {
            level,
            dense: dense.collect(),
            outputs: cnn.outputs(),
            reduction: sketch.reduction,
            steps,
            frames,
            planar,
            last,
            idle: Mutex::default(),
        })
    }

    /// Logits, `outputs` a sample; samples are channels × rows × columns. A sample's logits are the
    /// same bits in every batch.
    pub fn run<S: AsRef<[f32]>>(&self, samples: &[S]) -> Vec<Vec<f32>> {
        let mut arena = self.idle().pop().unwrap_or_else(|| Arena::new(&self.frames));
        let features = self.dense.first().map_or(0, |dense| dense.weights.k());
        let mut x = vec![0.0; samples.len() * features];
        for (sample, features) in samples.iter().zip(x.chunks_exact_mut(features.max(1))) {
            self.features(sample.as_ref(), &mut arena, features);
        }
        self.idle().push(arena);
        for dense in &self.dense {
            let mut y = vec![0.0; samples.len() * dense.weights.n()];
            let product = Product {
                activation: dense.activation,
                ..Product::rows(&dense.weights, &x, &mut y)
            };
            gemm(self.level, &dense.weights, product);
            x = y;
        }
        x.chunks_exact(self.outputs).map(<[f32]>::to_vec).collect()
    }

    /// One picture up to the vector that the dense layers read.
    fn features(&self, sample: &[f32], arena: &mut Arena, features: &mut [f32]) {
        let frame = &self.frames[0];
        if self.planar {
            planes(frame, sample, arena.slot(0));
        } else {
            interleave(frame, sample, arena.slot(0));
        }
        for step in &self.steps {
            step.run(self.level, &self.frames, arena);
        }
        let last = arena.slot(self.last);
        match self.reduction {
            Reduction::Flatten => features.copy_from_slice(&last[..features.len()]),
            Reduction::Mean => mean(self.level, &self.frames[self.last], last, features),
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Arena>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A sample's planes, within the border of `frame`: `[channel][line][pixel]`.
fn planes(frame: &Frame, sample: &[f32], to: &mut [f32]) {
    let [rows, columns] = frame.size;
    let (line, plane) = (frame.line() / LANES, frame.plane() / LANES);
    let start = frame.before[0] * line + frame.before[1];
    for (channel, from) in sample.chunks_exact(rows * columns).enumerate() {
        for (row, from) in from.chunks_exact(columns).enumerate() {
            to[channel * plane + start + row * line..][..columns].copy_from_slice(from);
        }
    }
}

/// A sample's planes as blocks.
fn interleave(frame: &Frame, sample: &[f32], to: &mut [f32]) {
    let [rows, columns] = frame.size;
    for (channel, from) in sample.chunks_exact(rows * columns).enumerate() {
        let block = channel / LANES * frame.plane() + channel % LANES;
        for (row, from) in from.chunks_exact(columns).enumerate() {
            let start = block + frame.at(row.cast_signed(), 0);
            let places = to[start..].iter_mut().step_by(LANES);
            places.zip(from).for_each(|(to, &from)| *to = from);
        }
    }
}

#[cfg(test)]
mod tests;
