//! What a backward pass does element by element.

use super::Level;
use super::dispatch;
use super::lanes::{Lanes, WIDTH};
use super::lines::Places;

/// Adds row `i` of `rows`, as wide as `width`, to `to` from place `i` on. Places may overlap: rows are added
/// in order.
///
/// # Panics
/// When a row or its place does not lie within the slices.
pub fn add_rows(level: Level, rows: &[f32], width: usize, places: &Places, to: &mut [f32]) {
    assert!(rows.len() / width.max(1) >= places.len() && places.fit(width, to.len()), "whole rows");
    let pass = &mut Addition { rows, width, places, to };
    // SAFETY: lengths as asserted; `dispatch` runs only what the processor has.
    unsafe { dispatch!(level, add(pass: &mut Addition<'_>)) };
}

struct Addition<'a> {
    rows: &'a [f32],
    width: usize,
    places: &'a Places,
    to: &'a mut [f32],
}

#[inline(always)]
unsafe fn add<V: Lanes, const ROWS: usize, const PAIR: usize>(pass: &mut Addition<'_>) {
    let whole = pass.width / WIDTH * WIDTH;
    let rest = pass.width - whole;
    for (row, &place) in pass.rows.chunks_exact(pass.width).zip(pass.places.each()) {
        // SAFETY: `width` floats from the place on exist.
        unsafe {
            let (from, to) = (row.as_ptr(), pass.to.as_mut_ptr().add(place));
            for at in (0..whole).step_by(WIDTH) {
                V::load(to.add(at)).add(V::load(from.add(at))).store(to.add(at));
            }
            if rest > 0 {
                let sum =
                    V::load_part(to.add(whole), rest).add(V::load_part(from.add(whole), rest));
                sum.store_part(to.add(whole), rest);
            }
        }
    }
}
