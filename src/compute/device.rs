//! The one place that knows which devices this build and this machine have.

use crate::domain::DeviceChoice;

pub use candle_core::Device;

/// Why a device is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    #[error(
        "cuda:{0} was asked for, but this build has no CUDA: build it with `cargo build --release --features cuda`"
    )]
    NotBuilt(usize),
    #[error("cuda:{index} cannot be opened: {reason}")]
    NotFound { index: usize, reason: String },
}

/// Opens what was chosen. `auto` never fails: it falls back to the CPU.
///
/// # Errors
/// When a GPU was asked for by number and this build or this machine has none.
pub fn open(choice: DeviceChoice) -> Result<Device, DeviceError> {
    match choice {
        DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Auto => Ok(cuda(0).unwrap_or(Device::Cpu)),
        DeviceChoice::Cuda(index) => cuda(index),
    }
}

/// What kind of processor this is, so that times measured on another are not taken for its own.
#[must_use]
pub fn processor() -> String {
    // Linux on x86-64 gives a name; elsewhere the kernels' level has to tell processors apart.
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| "unnamed".to_owned(), |(_, name)| name.trim().to_owned())
}

/// How a device is shown: `cpu` or `cuda:N`.
#[must_use]
pub fn name(device: &Device) -> String {
    match device.location() {
        candle_core::DeviceLocation::Cpu => "cpu".to_owned(),
        candle_core::DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        candle_core::DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Result<Device, DeviceError> {
    Device::new_cuda(index)
        .map_err(|error| DeviceError::NotFound { index, reason: error.to_string() })
}

#[cfg(not(feature = "cuda"))]
fn cuda(index: usize) -> Result<Device, DeviceError> {
    Err(DeviceError::NotBuilt(index))
}

#[cfg(all(test, not(feature = "cuda")))]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_cuda_says_how_to_get_one() {
        let error = open(DeviceChoice::Cuda(0)).unwrap_err().to_string();
        assert!(error.contains("--features cuda"), "{error}");
        assert!(matches!(open(DeviceChoice::Auto), Ok(Device::Cpu)));
    }
}
