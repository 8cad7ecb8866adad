//! The Open Inference Protocol v2 (KServe), with Triton's extensions, apart from any wire: what a request's
//! tensors mean to a model, and what tensors an answer is. REST ([`crate::http`]) and gRPC bring their own
//! reading and writing, and nothing else.
//!
//! ```text
//! tensors ─ input::payload ─► Payload ─ engine ─► Answer ─ output::tensors ─► tensors
//! ```

mod config;
mod input;
mod metadata;
mod numbers;
mod output;
mod repository;
mod request;
mod statistics;

pub use config::{InstanceGroup, ModelConfig, TensorConfig};
pub use input::{Input, Values, check_shape, payload};
pub use metadata::{EXTENSIONS, ModelMetadata, PLATFORM, TensorMetadata, versions};
pub use numbers::rounded;
pub use output::{Output, Receipt, Wanted, Written, check_wanted, tensors};
pub use repository::{IndexEntry, check_unload, index, load_version};
pub use request::{Asked, InferRequest, check_params, whole_only};
pub use statistics::{BatchStatistics, DurationStatistic, ModelStatistics, statistics};

/// Tensors that a request may bring, or ask for.
pub const TENSORS_MAX: usize = 64;
/// Dimensions of a tensor.
pub const DIMS_MAX: usize = 8;
/// Characters of a name or an id.
pub const NAME_CHARS_MAX: usize = 256;
