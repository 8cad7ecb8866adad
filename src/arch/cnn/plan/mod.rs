//! The network on a CPU: the same layers as the candle graph, with batch norms folded and weights packed
//! once, at load. A picture lies pixel after pixel, its channels side by side, so that one kernel works
//! on sixteen channels at a time.
//!
//! A network with a layer that is not known here has no plan, and runs as the graph does.

mod build;
mod fold;
mod step;

use std::sync::{Mutex, PoisonError};

use crate::arch::cnn::net::Cnn;
use crate::compute::kernels::Activation;
use crate::compute::kernels::{Level, Packed, Product, gemm};

use step::{Buffers, Step};

/// A network ready to run, shared by all threads.
pub struct Plan {
    level: Level,
    /// Channels, rows and columns of a sample.
    input: [usize; 3],
    /// Per picture, up to the vector that the dense layers read.
    steps: Vec<Step>,
    features: usize,
    dense: Vec<Dense>,
    outputs: usize,
    /// One set of buffers per thread that has run it.
    idle: Mutex<Vec<Buffers>>,
}

/// A linear layer with the activation after it.
pub(super) struct Dense {
    weights: Packed,
    activation: Activation,
}

impl Plan {
    /// The plan of a network, or `None` where a layer is not known here.
    pub fn new(cnn: &Cnn, level: Level) -> Option<Self> {
        build::plan(cnn, level)
    }

    /// Logits, `outputs` a sample; samples are channels × rows × columns. A sample's logits are the
    /// same bits in every batch.
    pub fn run<S: AsRef<[f32]>>(&self, samples: &[S]) -> Vec<Vec<f32>> {
        let mut buffers = self.idle().pop().unwrap_or_default();
        let mut x = Vec::with_capacity(samples.len() * self.features);
        for sample in samples {
            let picture = self.interleave(sample.as_ref(), &mut buffers);
            let picture = step::run(&self.steps, self.level, picture, &mut buffers);
            x.extend_from_slice(&picture);
            buffers.give(picture);
        }
        for dense in &self.dense {
            let mut y = buffers.take(samples.len() * dense.weights.n());
            let product = Product {
                a: &x,
                a_stride: dense.weights.k(),
                m: samples.len(),
                out: &mut y,
                out_stride: dense.weights.n(),
                places: None,
                residual: None,
                activation: dense.activation,
            };
            gemm(self.level, &dense.weights, product);
            buffers.give(std::mem::replace(&mut x, y));
        }
        let rows = x.chunks_exact(self.outputs).map(<[f32]>::to_vec).collect();
        buffers.give(x);
        self.idle().push(buffers);
        rows
    }

    /// Channel planes to pixels.
    fn interleave(&self, sample: &[f32], buffers: &mut Buffers) -> Vec<f32> {
        let [channels, rows, columns] = self.input;
        let mut picture = buffers.take(sample.len());
        if channels == 1 {
            picture.copy_from_slice(sample);
        } else {
            for (channel, plane) in sample.chunks_exact(rows * columns).enumerate() {
                for (pixel, &value) in picture.chunks_exact_mut(channels).zip(plane) {
                    pixel[channel] = value;
                }
            }
        }
        picture
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Buffers>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
