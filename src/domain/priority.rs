//! How urgent a request is beside others of the same model.

use std::ops::RangeInclusive;

/// From 1, the highest, to [`Priority::LEVELS`], the lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

impl Priority {
    pub const LEVELS: u8 = 3;
    pub const RANGE: RangeInclusive<u64> = 0..=Self::LEVELS as u64;

    /// Level `level`; 0 stands for the default, as in the Open Inference Protocol's schedule policy.
    #[must_use]
    pub fn new(level: u8) -> Option<Self> {
        match level {
            0 => Some(Self::default()),
            1..=Self::LEVELS => Some(Self(level)),
            _ => None,
        }
    }

    /// 0 for the highest.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0) - 1
    }
}

/// The middle one: a caller may ask for more, or for less.
impl Default for Priority {
    fn default() -> Self {
        Self(2)
    }
}
