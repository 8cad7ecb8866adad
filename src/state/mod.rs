//! What must survive a restart and is neither a package nor a journal: one SQLite file. Knows SQL;
//! nobody else does.

mod curves;
mod evaluations;
mod open;
mod schema;

pub use evaluations::Evaluation;
pub use open::{Database, StateError};
