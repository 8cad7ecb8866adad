//! Which instructions this processor has.

use crate::domain::{CpuChoice, CpuLevel};

/// A level that was asked for, and that this processor does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cpu = \"{0}\" was asked for, and this processor does not have it: set auto or portable")]
pub struct LevelError(CpuLevel);

/// Whether this processor has it, and this build was made for such a processor.
#[must_use]
#[inline]
pub fn is_available(level: CpuLevel) -> bool {
    match level {
        CpuLevel::Portable => true,
        #[cfg(target_arch = "aarch64")]
        CpuLevel::Neon => true,
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
        #[cfg(target_arch = "x86_64")]
        CpuLevel::Avx512 => {
            let has = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq");
            has && is_available(CpuLevel::Avx2)
        }
        CpuLevel::Amx => is_available(CpuLevel::Avx512) && super::amx::is_available(),
        _ => false,
    }
}

/// The widest level that this processor has.
#[must_use]
pub fn best() -> CpuLevel {
    CpuLevel::ALL.into_iter().rfind(|&level| is_available(level)).unwrap_or(CpuLevel::Portable)
}

/// The level that was chosen.
///
/// # Errors
/// When this processor does not have it.
pub fn resolve(choice: CpuChoice) -> Result<CpuLevel, LevelError> {
    match choice {
        CpuChoice::Auto => Ok(best()),
        CpuChoice::Level(level) if is_available(level) => Ok(level),
        CpuChoice::Level(level) => Err(LevelError(level)),
    }
}
