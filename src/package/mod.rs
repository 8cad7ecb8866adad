//! The package: a model as data at rest. Knows digests and paths; never runs anything.

mod contents;
mod digest;
mod manifest;
mod open;
mod store;
mod write;

pub use contents::Contents;
pub use digest::sha256;
pub use manifest::{
    ArchitectureSection, ImportReceipt, MANIFEST_FILE, Manifest, TrainingReceipt, WEIGHTS_FILE,
};
pub use open::{Package, PackageError, read_sized};
pub use store::{Store, StoreEntry, entries_of};
pub use write::{Draft, make, replace, write};
