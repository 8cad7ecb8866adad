//! No tiles here: nothing is ever split, and so nothing is multiplied.

use crate::compute::kernels::buffer::Buffer;
use crate::compute::kernels::tile::Part;

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
pub unsafe fn part(_part: &Part<'_>, _columns: *const f32) {
    unreachable!("nothing was split")
}
