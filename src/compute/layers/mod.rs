//! Layers that more than one architecture can use.

mod attention;
mod linear;
mod norm;

pub use attention::{Attention, AttentionConfig, softmax_train};
pub use linear::Linear;
pub use norm::LayerNorm;
