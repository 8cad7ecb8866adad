//! What architectures share: devices, parameters, layers and training. Knows candle; never names HTTP.

pub mod device;
pub mod fit;
#[expect(unsafe_code, reason = "vector instructions")]
pub mod kernels;
pub mod layers;
mod loader;
pub mod memory;
mod ops;
mod parameters;
mod values;

pub use device::{Device, DeviceError};
pub use loader::Loader;
pub use parameters::{Init, Named, Parameters, Trainable, WeightError};
pub use values::Values;
