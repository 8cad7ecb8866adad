//! Layers that more than one architecture can use.

mod dropout;
mod recurrent;

pub use dropout::Dropout;
pub use recurrent::{Cell, FoldedLayer, LayerState, RecurrentLayer, rows_matmul};
