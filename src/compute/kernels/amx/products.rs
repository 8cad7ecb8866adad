//! Rows of floats against panels of digits, a pair of tiles at a time, and on the way out what is made of the sums.

use std::arch::x86_64::{_mm512_cvtepi32_ps, _mm512_loadu_si512};
use std::cell::Cell;
use std::ops::Range;
use std::ptr;

use super::split::{self, BLOCK, DEPTH};
use super::tiles::{Shape, Sums, begin, configure, multiply, release, store};
use crate::compute::kernels::buffer::Buffer;
use crate::compute::kernels::lanes::{Avx512, Lanes, WIDTH};
use crate::compute::kernels::tile::{Panels, Place, Run, Strides};

/// Bytes of rows' digits that are walked over for every panel before the next rows come.
const ROOM_BYTES: usize = 512 << 10;

/// Rows of floats, as a [`Walk`](crate::compute::kernels::tile::Walk) has them.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub input: *const f32,
    pub from: Strides,
    /// Rows in a line.
    pub width: usize,
    pub runs: &'a [Run],
}

/// What takes the sums.
pub trait Sink {
    /// Panels of a group, whose sums are taken together.
    const PANELS: usize;
    /// Rows that are taken at a time.
    const ROWS: usize;

    /// One of a group's panels.
    fn panel(&self, group: usize, which: usize) -> usize;

    /// Takes some rows' sums. Each row comes once for each group.
    ///
    /// # Safety
    /// What was made must be there, and this be inlined where AVX-512F and DQ, AVX2 and FMA are enabled.
    unsafe fn take(&self, made: &Made, rows: Range<usize>);
}

/// Rows, of which there are no more than a tile has, and a group of panels whose sums are made.
pub struct Made {
    pub group: usize,
    /// The first of the rows.
    pub row: usize,
    count: usize,
    /// Of each row.
    back: *const f32,
    /// Of each panel.
    sums: *const Sums,
}

/// Sixteen columns' scales and biases.
#[derive(Clone, Copy)]
pub struct Columns {
    back: Avx512,
    bias: Avx512,
}

impl Columns {
    /// # Safety
    /// The panel must be there, and be of digits.
    #[inline(always)]
    pub unsafe fn of(panels: &Panels, panel: usize) -> Self {
        // SAFETY: the caller's.
        unsafe { Self { back: of_panel(panels.back, panel), bias: of_panel(panels.bias, panel) } }
    }
}

/// A panel's sixteen, or zeros where there are none.
#[inline(always)]
unsafe fn of_panel(from: Option<*const f32>, panel: usize) -> Avx512 {
    // SAFETY: the caller's.
    unsafe {
        match from {
            Some(from) => Avx512::load(from.add(panel * WIDTH)),
            None => Avx512::splat(0.0),
        }
    }
}

impl Made {
    /// The product of one row, counted from the first, and one of the panels.
    ///
    /// # Safety
    /// The row and the panel must be there.
    #[inline(always)]
    pub unsafe fn product(&self, row: usize, which: usize, columns: Columns) -> Avx512 {
        const BASE: f32 = 256.0;
        // SAFETY: the caller's.
        unsafe {
            let high = self.sums.add(which).cast::<[i32; WIDTH]>().add(row);
            let (middle, low) = (high.add(WIDTH), high.add(2 * WIDTH));
            let base = Avx512::splat(BASE);
            let sum = floats(high).fma(base, floats(middle)).fma(base, floats(low));
            // The low sum counts in 2¹⁶: a row's scale has 256 of it, and a column's. Rows may be large, weights are not: the
            // row's comes last.
            let back = Avx512::splat(*self.back.add(row));
            sum.mul(columns.back).fma(back, columns.bias)
        }
    }
}

/// Sixteen whole numbers as floats.
#[inline(always)]
unsafe fn floats(numbers: *const [i32; WIDTH]) -> Avx512 {
    // SAFETY: the caller's.
    unsafe { Avx512(_mm512_cvtepi32_ps(_mm512_loadu_si512(numbers.cast()))) }
}

/// What a thread keeps from one product to the next.
#[derive(Default)]
struct Room {
    /// Tiles of rows: `[tile][block][digit]`.
    tiles: Buffer,
    /// Of each row.
    back: Buffer,
    /// One row's floats, gathered from its runs.
    line: Buffer,
    /// Of two groups of panels.
    sums: Vec<Sums>,
}

thread_local! {
    static ROOM: Cell<Room> = Cell::default();
}

/// Some rows against groups of panels.
///
/// # Safety
/// The rows and the panels must be there, the panels be digits, and this be inlined where AVX-512F and DQ, AVX2 and FMA are
/// enabled, on a processor with AMX.
#[inline(always)]
pub unsafe fn products<S: Sink>(
    input: Rows<'_>,
    all: Range<usize>,
    panels: Panels,
    groups: Range<usize>,
    sink: &S,
) {
    if all.is_empty() {
        return;
    }
    let blocks = panels.k.div_ceil(DEPTH);
    let most = (ROOM_BYTES / (blocks * BLOCK)).max(1) * WIDTH;
    let mut room = ROOM.take();
    reserve(&mut room.tiles, most.min(all.len()).div_ceil(WIDTH) * blocks * BLOCK / 4);
    reserve(&mut room.back, most.min(all.len()));
    reserve(&mut room.line, panels.k + WIDTH);
    if room.sums.len() < 2 * S::PANELS {
        room.sums.resize(2 * S::PANELS, Sums::NONE);
    }
    // SAFETY: the rows and panels named exist, and the room is as large as was asked for.
    unsafe {
        let mut start = all.start;
        while start < all.end {
            let rows = start..(start + most).min(all.end);
            start = rows.end;
            let shape = Shape::of(rows.len());
            configure(shape);
            read(input, &rows, (panels.k, shape), &mut room);
            against(&rows, shape, &panels, groups.clone(), &mut room, sink);
        }
        release();
    }
    ROOM.set(room);
}

/// Makes a buffer no smaller than that. One that is large enough stays as it is.
fn reserve(buffer: &mut Buffer, count: usize) {
    if buffer.len() < count {
        buffer.resize(count);
    }
}

/// The digits of some rows.
#[inline(always)]
unsafe fn read(input: Rows<'_>, rows: &Range<usize>, (k, shape): (usize, Shape), room: &mut Room) {
    let mut place = Place::of(rows.start, input.width);
    let mut tile = room.tiles.as_mut_ptr().cast::<u8>();
    let mut done = 0;
    // SAFETY: the rows exist, and there is room for them.
    unsafe {
        while done < rows.len() {
            let count = (rows.len() - done).min(shape.rows());
            let mut from = [ptr::null(); WIDTH];
            for from in &mut from[..count] {
                *from = input.input.add(place.offset(input.from));
                place = place.after(1, input.width);
            }
            let back = room.back.as_mut_ptr().add(done);
            if let [run] = input.runs {
                split_rows(&from[..count], *run, (tile, back), shape.apart());
            } else {
                let whole = Run { offset: 0, count: k };
                for (line, &from) in from[..count].iter().enumerate() {
                    gather(from, input.runs, &mut room.line);
                    let to = (tile.add(line * DEPTH), back.add(line));
                    split_rows(&[room.line.as_ptr()], whole, to, shape.apart());
                }
            }
            tile = tile.add(k.div_ceil(DEPTH) * BLOCK);
            done += count;
        }
    }
}

/// The digits of rows of one tile, each of which is one run. All scales come first: each is one long chain, and those of several
/// overlap.
#[inline(always)]
unsafe fn split_rows(
    rows: &[*const f32],
    run: Run,
    (tile, back): (*mut u8, *mut f32),
    apart: usize,
) {
    let mut whole = [0.0; WIDTH];
    // SAFETY: the caller's: the rows are there, and there is room for their digits.
    unsafe {
        for (line, (from, whole)) in rows.iter().zip(&mut whole).enumerate() {
            let scale = split::scale(from.add(run.offset), run.count);
            *whole = scale.whole;
            *back.add(line) = scale.back;
        }
        for (line, (from, &whole)) in rows.iter().zip(&whole).enumerate() {
            let to = tile.add(line * DEPTH);
            split::digits(from.add(run.offset), run.count, whole, to, apart);
        }
    }
}

/// A row's runs, one after the other.
#[inline(always)]
unsafe fn gather(from: *const f32, runs: &[Run], line: &mut Buffer) {
    let mut to = line.as_mut_ptr();
    for run in runs {
        let mut done = 0;
        while done < run.count {
            // SAFETY: the run is there, and the line has a vector's room beyond the last one.
            unsafe {
                let part = Avx512::load_part(from.add(run.offset + done), run.count - done);
                part.store(to.wrapping_add(done));
            }
            done += WIDTH;
        }
        to = to.wrapping_add(run.count);
    }
}

/// Rows, which are read, against groups of panels. What was made last is taken while the tiles make the next, a few rows after each
/// block: a processor looks ahead some hundred instructions, and does both at once.
#[inline(always)]
unsafe fn against<S: Sink>(
    rows: &Range<usize>,
    shape: Shape,
    panels: &Panels,
    groups: Range<usize>,
    room: &mut Room,
    sink: &S,
) {
    let blocks = panels.k.div_ceil(DEPTH);
    let mut last = Made { group: 0, row: 0, count: 0, back: ptr::null(), sums: ptr::null() };
    let mut half = 0;
    // SAFETY: each tile of rows has its digits, there is room for the sums of two groups, and rows beyond the end are not taken.
    unsafe {
        for group in groups {
            let mut tiles = room.tiles.as_ptr().cast::<u8>();
            let mut back = room.back.as_ptr();
            let mut row = rows.start;
            while row < rows.end {
                let sums = room.sums.as_mut_ptr().add(half * S::PANELS);
                let mut taken = 0;
                for which in 0..S::PANELS {
                    let columns = panels.data.add(sink.panel(group, which) * panels.stride);
                    let (mut a, mut b) = (tiles, columns.cast::<u8>());
                    begin();
                    for _ in 0..blocks {
                        multiply(shape, a, b);
                        (a, b) = (a.add(BLOCK), b.add(BLOCK));
                        if taken < last.count {
                            let end = (taken + S::ROWS).min(last.count);
                            sink.take(&last, taken..end);
                            taken = end;
                        }
                    }
                    store(shape, &mut *sums.add(which));
                }
                if taken < last.count {
                    sink.take(&last, taken..last.count);
                }
                let count = (rows.end - row).min(shape.rows());
                last = Made { group, row, count, back, sums };
                half = 1 - half;
                tiles = tiles.add(blocks * BLOCK);
                back = back.wrapping_add(count);
                row += count;
            }
        }
        sink.take(&last, 0..last.count);
    }
}
