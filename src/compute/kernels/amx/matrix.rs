//! A part of a walk whose panels are digits.

use std::ops::Range;

use super::products::{Columns, Made, Rows, Sink, products};
use crate::compute::kernels::lanes::Avx512;
use crate::compute::kernels::tile::{ANYWHERE, EVEN, Part, Place, Walk, finish};

/// Some rows against some panels.
///
/// # Safety
/// As [`walk`](crate::compute::kernels::tile::walk); the panels are digits, and this processor has AMX.
#[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
pub unsafe fn part(part: &Part<'_>) {
    let walk = part.walk;
    let input = Rows { input: walk.input, from: walk.from, width: walk.width, runs: walk.runs };
    // SAFETY: the caller's.
    unsafe {
        products(input, part.rows.clone(), walk.panels, part.panels.clone(), &Written(walk));
    }
}

/// Rows that are written together.
const TOGETHER: usize = 8;

/// All that follows a product, and where it goes.
struct Written<'a>(&'a Walk<'a>);

impl Sink for Written<'_> {
    const PANELS: usize = 1;
    const ROWS: usize = TOGETHER;

    #[inline(always)]
    fn panel(&self, group: usize, _: usize) -> usize {
        group
    }

    #[inline(always)]
    unsafe fn take(&self, made: &Made, rows: Range<usize>) {
        // SAFETY: the caller's.
        unsafe {
            let columns = Columns::of(&self.0.panels, made.group);
            let mut row = rows.start;
            while row + TOGETHER <= rows.end {
                self.write::<TOGETHER>(made, row, columns);
                row += TOGETHER;
            }
            while row < rows.end {
                self.write::<1>(made, row, columns);
                row += 1;
            }
        }
    }
}

impl Written<'_> {
    /// R rows, from `row` on.
    #[inline(always)]
    unsafe fn write<const R: usize>(&self, made: &Made, row: usize, columns: Columns) {
        let walk = self.0;
        let place = Place::of(made.row + row, walk.width);
        // SAFETY: the caller's.
        unsafe {
            let mut sums: [[Avx512; 1]; R] = [[made.product(row, 0, columns)]; R];
            for (r, sums) in sums.iter_mut().enumerate().skip(1) {
                sums[0] = made.product(row + r, 0, columns);
            }
            if place.pixel + R <= walk.width {
                finish::<Avx512, R, 1, EVEN>(walk, place, made.group, sums);
            } else {
                finish::<Avx512, R, 1, ANYWHERE>(walk, place, made.group, sums);
            }
        }
    }
}
