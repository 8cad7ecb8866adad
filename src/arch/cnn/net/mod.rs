//! The network: layers built in order from one description, for serving and for training.

mod blocks;
mod build;
mod shape;

use candle_core::{D, Device, Result, Tensor};

use crate::compute::layers::{
    Activation, AveragePool, BatchNorm, Convolution, Dropout, Linear, MaxPool, Mode,
    global_average_pool,
};
use crate::engine::{Network, RunError};

pub use build::build;
pub use shape::VALUES_MAX;

/// One layer with its parameters.
#[derive(Debug)]
pub enum Node {
    Convolution(Convolution),
    BatchNorm(BatchNorm),
    Activation(Activation),
    MaxPool(MaxPool),
    AveragePool(AveragePool),
    GlobalAveragePool,
    Linear(Linear),
    Flatten,
    Dropout(Dropout),
    Block(Block),
}

/// activation(body(x) + shortcut(x)).
#[derive(Debug)]
pub struct Block {
    pub body: Vec<Node>,
    /// `None` adds nothing; an empty one adds x.
    pub shortcut: Option<Vec<Node>>,
    pub activation: Option<Activation>,
}

/// A convolutional network from [N, channels, height, width] to [N, outputs].
#[derive(Debug)]
pub struct Cnn {
    nodes: Vec<Node>,
    input: [usize; 3],
    outputs: usize,
}

impl Cnn {
    /// Size of the last layer.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Channels, rows and columns of a sample.
    #[must_use]
    pub fn input(&self) -> [usize; 3] {
        self.input
    }

    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Logits [N, outputs].
    ///
    /// # Errors
    /// When the arithmetic fails.
    pub fn forward(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        sequence(&self.nodes, x, mode)
    }

    /// Samples of channels × height × width values each, as one tensor on the device: one copy.
    ///
    /// # Errors
    /// When a sample has another size.
    pub fn batch<S: AsRef<[f32]>>(&self, samples: &[S], device: &Device) -> Result<Tensor> {
        let [c, h, w] = self.input;
        let mut values = Vec::with_capacity(samples.len() * c * h * w);
        for sample in samples {
            values.extend_from_slice(sample.as_ref());
        }
        Tensor::from_vec(values, (samples.len(), c, h, w), device)
    }
}

fn sequence(nodes: &[Node], x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
    match nodes {
        [] => Ok(x.clone()),
        // The largest value stays the largest: what the pool leaves is all that has to be activated.
        [Node::Activation(activation), Node::MaxPool(pool), rest @ ..]
            if activation.keeps_largest() =>
        {
            sequence(rest, &activation.forward(&pool.forward(x, mode)?)?, mode)
        }
        [node, rest @ ..] => sequence(rest, &node.forward(x, mode)?, mode),
    }
}

impl Node {
    fn forward(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        match self {
            Self::Convolution(layer) => layer.forward(x, mode),
            Self::BatchNorm(layer) => layer.forward(x, mode),
            Self::Activation(layer) => layer.forward(x),
            Self::MaxPool(layer) => layer.forward(x, mode),
            Self::AveragePool(layer) => layer.forward(x, mode),
            Self::GlobalAveragePool => global_average_pool(x),
            Self::Linear(layer) => layer.forward(x),
            Self::Flatten => x.flatten_from(1),
            Self::Dropout(layer) => layer.forward(x, mode),
            Self::Block(block) => block.forward(x, mode),
        }
    }
}

impl Block {
    fn forward(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let mut y = sequence(&self.body, x, mode)?;
        if let Some(shortcut) = &self.shortcut {
            y = (y + sequence(shortcut, x, mode)?)?;
        }
        match self.activation {
            Some(activation) => activation.forward(&y),
            None => Ok(y),
        }
    }
}

/// What the outputs mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// Probabilities: a softmax over the outputs.
    Softmax,
    /// The outputs as they are.
    Values,
}

/// The network as candle runs it: what is trained, what runs on other devices than a CPU, and what
/// [`Plan`](crate::arch::cnn::plan::Plan) is tested against.
#[derive(Debug)]
pub struct Graph {
    pub cnn: Cnn,
    pub head: Head,
    pub device: Device,
}

impl Graph {
    fn rows(&self, batch: &[&Vec<f32>]) -> Result<Vec<Vec<f32>>> {
        let x = self.cnn.batch(batch, &self.device)?;
        let y = self.cnn.forward(&x, &mut Mode::Evaluation)?;
        match self.head {
            Head::Softmax => candle_nn::ops::softmax(&y, D::Minus1)?.to_vec2(),
            Head::Values => y.to_vec2(),
        }
    }
}

impl Network for Graph {
    /// Channels × height × width values, row-major.
    type Sample = Vec<f32>;
    /// One value per output.
    type Output = Vec<f32>;

    fn cost(&self, _: &Vec<f32>) -> usize {
        1
    }

    fn pads(&self) -> bool {
        false
    }

    fn run(&self, batch: &[&Vec<f32>]) -> std::result::Result<Vec<Vec<f32>>, RunError> {
        self.rows(batch).map_err(|error| RunError(error.to_string()))
    }
}
