//! The words of the service. This layer knows no crate but serde, thiserror and bytes.

mod answer;
mod card;
mod cpu;
mod datatype;
mod device;
mod ids;
mod limits;
mod params;
mod payload;
mod priority;
mod problem;
pub mod task;

pub use answer::{
    Answer, Class, Evidence, Finish, Fragment, Outcome, Piece, ScoredToken, Scores, Segment,
    Timings, Token, TokenTimings, Word,
};
pub use card::{Card, State, Status, TensorSpec};
pub use cpu::{CpuChoice, CpuLevel};
pub use datatype::Datatype;
pub use device::DeviceChoice;
pub use ids::{Digest, IdError, ModelName, RequestId, Version};
pub use limits::MediaLimits;
pub use params::{ParamValue, Params, Reader};
pub use payload::{Item, Media, Payload, Tensor};
pub use priority::Priority;
pub use problem::{Fault, Kind, Problem, cut};
