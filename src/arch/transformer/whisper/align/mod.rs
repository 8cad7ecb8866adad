//! When each word was said: the decoder reads its text once more, and where its heads listen meanwhile is matched
//! with the tokens, one after the other (Radford et al. 2022; the reference's `timing.py`).

mod attended;
mod path;
mod pieces;
mod times;

pub use attended::Attended;
pub use pieces::Piece;
pub use times::{Window, place};
