//! Which instructions the arithmetic on a CPU may use.

use std::fmt;
use std::str::FromStr;

use crate::domain::IdError;

/// An instruction set that the kernels are written for, from the plainest to the widest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CpuLevel {
    /// Plain Rust, on any processor.
    Portable,
    /// 4 floats a register, on every 64-bit Arm.
    Neon,
    /// 8 floats a register, with fused multiply-add.
    Avx2,
    /// 16 floats a register.
    Avx512,
    /// As that, and tiles of bytes for the products of large networks.
    Amx,
}

impl CpuLevel {
    pub const ALL: [Self; 5] = [Self::Portable, Self::Neon, Self::Avx2, Self::Avx512, Self::Amx];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Amx => "amx",
        }
    }
}

impl fmt::Display for CpuLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `auto`, or one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CpuChoice {
    /// The widest that this processor has.
    #[default]
    Auto,
    Level(CpuLevel),
}

impl FromStr for CpuChoice {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        CpuLevel::ALL
            .into_iter()
            .find(|level| level.name() == text)
            .map(Self::Level)
            .ok_or_else(|| IdError::new("auto, portable, neon, avx2, avx512 or amx", text))
    }
}

impl fmt::Display for CpuChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Level(level) => level.fmt(f),
        }
    }
}
