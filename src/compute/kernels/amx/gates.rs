//! A recurrent step whose weights are digits: gates become the next state while the tiles make the next gates' sums.

use std::ops::Range;

use super::products::{Columns, Made, Rows, Sink, products};
use crate::compute::kernels::lanes::{Avx512, Lanes, WIDTH};
use crate::compute::kernels::recurrent::{Kept, Units, gru_units, lstm_units};
use crate::compute::kernels::step::Pointers;
use crate::compute::kernels::tile::{Panels, Run, Strides};

/// One step of all rows.
///
/// # Safety
/// As the step says; its units are whole panels, the panels digits, and this processor has AMX.
#[target_feature(enable = "avx512f,avx512dq,avx2,fma")]
pub unsafe fn step(step: &Pointers<'_>, panels: Panels) {
    let input = Rows {
        input: step.state,
        from: Strides::matrix(step.hidden),
        width: step.inputs.len(),
        runs: &[Run { offset: 0, count: step.hidden }],
    };
    let groups = 0..step.hidden / WIDTH;
    let rows = 0..step.inputs.len();
    // SAFETY: the caller's. All rows of a state are read before any of them is written, those that are read together.
    unsafe {
        if step.cell.is_null() {
            products(input, rows, panels, groups, &Gates::<3> { step, panels });
        } else {
            products(input, rows, panels, groups, &Gates::<4> { step, panels });
        }
    }
}

/// Rows that are made together: a row's functions are one long chain, and those of several overlap.
const TOGETHER: usize = 3;

/// G gates of sixteen units.
struct Gates<'a, const G: usize> {
    step: &'a Pointers<'a>,
    panels: Panels,
}

impl<const G: usize> Sink for Gates<'_, G> {
    const PANELS: usize = G;
    const ROWS: usize = TOGETHER;

    #[inline(always)]
    fn panel(&self, group: usize, which: usize) -> usize {
        which * (self.step.hidden / WIDTH) + group
    }

    #[inline(always)]
    unsafe fn take(&self, made: &Made, rows: Range<usize>) {
        // SAFETY: the caller's.
        unsafe {
            let mut columns = [Columns::of(&self.panels, self.panel(made.group, 0)); G];
            for (which, columns) in columns.iter_mut().enumerate().skip(1) {
                *columns = Columns::of(&self.panels, self.panel(made.group, which));
            }
            let mut row = rows.start;
            while row + TOGETHER <= rows.end {
                self.some::<TOGETHER>(made, row, &columns);
                row += TOGETHER;
            }
            while row < rows.end {
                self.some::<1>(made, row, &columns);
                row += 1;
            }
        }
    }
}

impl<const G: usize> Gates<'_, G> {
    /// N rows, from `row` on.
    #[inline(always)]
    unsafe fn some<const N: usize>(&self, made: &Made, row: usize, columns: &[Columns; G]) {
        let mut units = [OfSums { step: self.step, made, row, columns }; N];
        for (i, units) in units.iter_mut().enumerate() {
            units.row += i;
        }
        // SAFETY: the caller's.
        unsafe {
            if G == 3 {
                gru_units::<Avx512, _, N>(units);
            } else {
                lstm_units::<Avx512, _, N>(units);
            }
        }
    }
}

/// Sixteen units of a row whose gates are made.
#[derive(Clone, Copy)]
struct OfSums<'a, const G: usize> {
    step: &'a Pointers<'a>,
    made: &'a Made,
    row: usize,
    columns: &'a [Columns; G],
}

impl<const G: usize> OfSums<'_, G> {
    #[inline(always)]
    fn kept(self, of: Kept) -> *mut f32 {
        let from = match of {
            Kept::State => self.step.state,
            Kept::Cell => self.step.cell,
        };
        from.wrapping_add((self.made.row + self.row) * self.step.hidden + self.made.group * WIDTH)
    }
}

impl<const G: usize> Units<Avx512> for OfSums<'_, G> {
    #[inline(always)]
    unsafe fn halves(self, gate: usize) -> (Avx512, Avx512) {
        // SAFETY: the caller's: the row and its gates are there.
        unsafe {
            let input = self.step.inputs.get_unchecked(self.made.row + self.row).as_ptr();
            let input = input.add(gate * self.step.hidden + self.made.group * WIDTH);
            let columns = *self.columns.get_unchecked(gate);
            (Avx512::load(input), self.made.product(self.row, gate, columns))
        }
    }

    #[inline(always)]
    unsafe fn old(self, of: Kept) -> Avx512 {
        // SAFETY: the caller's.
        unsafe { Avx512::load(self.kept(of)) }
    }

    #[inline(always)]
    unsafe fn keep(self, of: Kept, new: Avx512) {
        // SAFETY: the caller's.
        unsafe { new.store(self.kept(of)) };
    }
}
