//! Layers that more than one architecture can use. Each says what it computes once; training and
//! evaluation are two modes of the same layer.

mod activation;
mod attention;
mod batch_norm;
mod convolution;
mod dropout;
mod layer_norm;
mod linear;
mod pool;
mod recurrent;
mod window;

use rand_chacha::ChaCha8Rng;

pub use activation::Activation;
pub use attention::{Attention, AttentionConfig};
pub use batch_norm::BatchNorm;
pub use convolution::{Convolution, ConvolutionSize};
pub use dropout::Dropout;
pub use layer_norm::LayerNorm;
pub use linear::{Linear, affine};
pub use pool::{AveragePool, MaxPool, global_average_pool};
pub use recurrent::{
    Cell, FoldedLayer, LayerState, PackedLayer, RecurrentLayer, Sequence, rows_matmul,
};
pub use window::{Padding, Placement, Window};

/// What a forward pass is for.
pub enum Mode<'a> {
    /// Running statistics, no dropout, the fastest operations there are.
    Evaluation,
    /// Batch statistics, dropout from this generator, operations that have a gradient.
    Training(&'a mut ChaCha8Rng),
}
