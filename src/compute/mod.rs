//! What architectures share: devices, parameters, layers and training. Knows candle; never names HTTP.

pub mod device;
pub mod fit;
#[expect(unsafe_code, reason = "vector instructions")]
pub mod kernels;
pub mod layers;
mod parameters;

pub use device::{Device, DeviceError};
pub use parameters::{Init, Loader, Parameters, Trainable, WeightError};
