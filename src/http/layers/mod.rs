//! What surrounds every route. `router` says in which order, and why.

mod authorise;
mod close;
mod explain;
mod pack;

pub use authorise::{bearer, refusal};
pub use close::{must_close, say_close};
pub use explain::{Asker, explain};
pub use pack::Packing;
