//! No tiles here: nothing is ever split, and so nothing is multiplied.

use crate::compute::kernels::buffer::Buffer;
use crate::compute::kernels::step::Pointers;
use crate::compute::kernels::tile::{Panels, Part};

pub fn is_available() -> bool {
    false
}

pub fn split(_panels: &[f32], _k: usize) -> Option<(Buffer, Buffer)> {
    None
}

pub fn value(_panel: &[f32], _at: (usize, usize), _back: f32) -> f32 {
    unreachable!("nothing was split")
}

/// # Safety
/// None is needed.
pub unsafe fn part(_part: &Part<'_>) {
    unreachable!("nothing was split")
}

/// # Safety
/// None is needed.
pub unsafe fn step(_step: &Pointers<'_>, _panels: Panels) {
    unreachable!("nothing was split")
}
