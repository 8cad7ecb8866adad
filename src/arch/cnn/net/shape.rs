//! What flows between layers, bounded at every step.

use std::fmt::{self, Display};

use crate::arch::OpenError;
use crate::arch::cnn::config::SECTION;
use crate::compute::layers::Window;

/// Values that one sample may have after any layer or in between, and that one tensor of weights may
/// have: 256 MiB.
pub const VALUES_MAX: usize = 1 << 26;

/// The shape of one sample, without the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Channels, rows, columns.
    Picture([usize; 3]),
    Vector(usize),
}

impl Shape {
    /// `None` when a size is 0 or the product is out of bounds.
    pub fn picture_of(sizes: [usize; 3]) -> Option<Self> {
        bounded(&sizes).map(|()| Self::Picture(sizes))
    }

    /// # Errors
    /// When a vector flows here.
    pub fn picture(self, place: &str) -> Result<[usize; 3], OpenError> {
        match self {
            Self::Picture(sizes) => Ok(sizes),
            Self::Vector(_) => Err(refuse(place, "channels, rows and columns", self)),
        }
    }

    pub fn channels(self) -> usize {
        match self {
            Self::Picture([channels, ..]) | Self::Vector(channels) => channels,
        }
    }

    /// The shape after `window` has gone over `input` and given `channels`.
    ///
    /// # Errors
    /// When it does not fit, or what comes out is out of bounds.
    pub fn after(
        window: &Window,
        input: [usize; 3],
        channels: usize,
        place: &str,
    ) -> Result<Self, OpenError> {
        let [_, rows, columns] = input;
        window
            .place([rows, columns])
            .and_then(|at| {
                // What lies between has bounds as well: the padded picture, and a gather of windows.
                let padded = |axis: usize| at.input[axis] + at.before[axis] + at.after[axis];
                bounded(&[input[0], padded(0), padded(1)])?;
                bounded(&[
                    input[0],
                    window.kernel[0],
                    window.kernel[1],
                    at.output[0],
                    at.output[1],
                ])?;
                Self::picture_of([channels, at.output[0], at.output[1]])
            })
            .ok_or_else(|| {
                let expected = format!("a window that fits {rows} rows and {columns} columns");
                refuse(place, expected, format!("{window:?}"))
            })
    }
}

impl Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Picture([channels, rows, columns]) => {
                write!(f, "{channels} channels of {rows} x {columns}")
            }
            Self::Vector(count) => write!(f, "a vector of {count}"),
        }
    }
}

/// `None` when a size is 0, or the product overflows or is above [`VALUES_MAX`].
pub(super) fn bounded(sizes: &[usize]) -> Option<()> {
    let count = sizes.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))?;
    (1..=VALUES_MAX).contains(&count).then_some(())
}

pub(super) fn refuse(place: &str, expected: impl Display, got: impl Display) -> OpenError {
    let reason = format!("{place}: expected {expected}, got {got}");
    OpenError::Config { section: SECTION, reason }
}
