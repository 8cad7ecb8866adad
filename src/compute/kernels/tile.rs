//! The one loop that matrix products, convolutions and attention share: rows of input against panels of
//! sixteen columns, a tile of both in registers. Panels of digits go to [`amx`](super::amx) from here.

use std::ops::Range;

use super::Level;
use super::activation::Activation;
use super::amx;
use super::dispatch;
use super::lanes::{Lanes, WIDTH};
use super::team;

/// Columns in panels of sixteen, `stride` floats apart: `[panel][k][16]`, or digits.
#[derive(Clone, Copy)]
pub(super) struct Panels {
    pub data: *const f32,
    pub stride: usize,
    /// What each column's sum begins with, padded to whole panels; without it, 0.
    pub bias: Option<*const f32>,
    /// Where the panels are digits: what the sums of each column are scaled back by.
    pub back: Option<*const f32>,
    pub k: usize,
    pub n: usize,
}

/// Where rows lie: as pixels in lines, floats from one to the next. A matrix is one line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strides {
    pub pixel: usize,
    pub line: usize,
}

impl Strides {
    /// Of a matrix: `line` is never used.
    pub fn matrix(pixel: usize) -> Self {
        Self { pixel, line: 0 }
    }
}

/// Where a pass writes.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub data: *mut f32,
    pub strides: Strides,
    /// Floats from one panel of a row to the next: 16 in a matrix.
    pub panel: usize,
    /// Whether all sixteen columns of the last panel are written, or only those that there are.
    pub whole: bool,
}

/// What a pass adds before the activation: addresses as a target has.
#[derive(Clone, Copy)]
pub(super) struct Addend {
    pub data: *const f32,
    pub strides: Strides,
    pub panel: usize,
}

/// Consecutive floats of a row: where they begin, from the row's address, and how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub offset: usize,
    pub count: usize,
}

/// One pass over rows of input that lie somewhere in memory. A matrix product and a convolution differ
/// only in where the rows lie.
pub(super) struct Walk<'a> {
    pub panels: Panels,
    pub input: *const f32,
    pub from: Strides,
    /// A row's floats; their counts add up to the panels' k.
    pub runs: &'a [Run],
    /// Rows in all, and in a line.
    pub m: usize,
    pub width: usize,
    pub to: Target,
    pub residual: Option<Addend>,
    pub activation: Activation,
}

impl Walk<'_> {
    /// Columns of a panel that are written.
    #[inline(always)]
    fn columns(&self, panel: usize) -> usize {
        if self.to.whole { WIDTH } else { (self.panels.n - panel * WIDTH).min(WIDTH) }
    }
}

/// Bytes of input that are walked over for every panel before the next rows come: half of a small L2.
const BLOCK_BYTES: usize = 256 << 10;

/// Multiply-adds of one row that are worth a second thread: it is bound by reading the weights.
const SHARED_MIN_OF_ONE: usize = 1 << 17;

/// What the rows of a shared piece are a multiple of: the largest tile's of floats.
pub(super) const SHARED_ROWS: usize = 12;

/// # Safety
/// The walk's pointers must reach all that its rows, runs and strides name.
pub(super) unsafe fn walk(level: Level, walk: &Walk<'_>) {
    let panels = walk.panels.n.div_ceil(WIDTH);
    let (threads, work) = (team::threads(), work(walk.m, &walk.panels));
    // Digits are multiplied in tiles of sixteen rows.
    let rows = if walk.panels.back.is_some() { WIDTH } else { SHARED_ROWS };
    if !is_shared(walk.m, &walk.panels) {
        // SAFETY: the caller's; `dispatch` runs only what the processor has.
        return unsafe { part(level, &Part { walk, rows: 0..walk.m, panels: 0..panels }) };
    }
    let shared = &Shared(walk);
    // Rows where they are more than columns: what all threads read is then the smaller side.
    let by_rows = walk.m >= walk.panels.n.max(threads * rows);
    let (count, unit) = match by_rows {
        true => (walk.m, rows),
        false if walk.m == 1 => (panels, 4),
        false => (panels, 2),
    };
    team::share(count, unit, work, &|own| {
        let walk = shared.walk();
        let own = if by_rows {
            Part { walk, rows: own, panels: 0..panels }
        } else {
            Part { walk, rows: 0..walk.m, panels: own }
        };
        // SAFETY: as above; no two pieces write the same rows and panels.
        unsafe { part(level, &own) };
    });
}

/// What a product of so many rows takes, in multiply-adds of floats: those of digits are done so many times sooner.
fn work(m: usize, panels: &Panels) -> usize {
    m * panels.k * panels.n / if panels.back.is_some() { 4 } else { 1 }
}

/// Whether the threads of the team share a product of so many rows.
pub(super) fn is_shared(m: usize, panels: &Panels) -> bool {
    let worth = if m == 1 { SHARED_MIN_OF_ONE } else { team::SHARED_MIN };
    team::threads() > 1 && work(m, panels) >= worth
}

/// A walk that several threads do parts of.
struct Shared<'a>(&'a Walk<'a>);

// SAFETY: its pointers are read by all, and written at places of each thread's own.
unsafe impl Sync for Shared<'_> {}

impl Shared<'_> {
    fn walk(&self) -> &Walk<'_> {
        self.0
    }
}

/// Some rows against some panels.
pub(super) struct Part<'a> {
    pub walk: &'a Walk<'a>,
    pub rows: Range<usize>,
    pub panels: Range<usize>,
}

unsafe fn part(level: Level, part: &Part<'_>) {
    if part.walk.panels.back.is_some() {
        // SAFETY: the caller's; digits are made only where they can be multiplied.
        return unsafe { amx::part(part) };
    }
    // SAFETY: the caller's.
    unsafe { dispatch!(level, blocks(part: &Part<'_>)) };
}

#[inline(always)]
unsafe fn blocks<V: Lanes, const ROWS: usize, const PAIR: usize>(part: &Part<'_>) {
    let walk = part.walk;
    let block = (BLOCK_BYTES / (4 * walk.panels.k.max(1))).max(1).next_multiple_of(ROWS);
    let mut start = part.rows.start;
    while start < part.rows.end {
        let end = (start + block).min(part.rows.end);
        let mut panel = part.panels.start;
        while panel < part.panels.end {
            // SAFETY: rows start..end and the panels named exist.
            unsafe {
                if walk.m == 1 && panel + 4 <= part.panels.end {
                    // One row has too few sums for the multipliers: more columns at once keep them busy.
                    block_rows::<V, 1, 4>(walk, start, end, panel);
                    panel += 4;
                } else if PAIR == 2 && panel + 1 < part.panels.end {
                    block_rows::<V, ROWS, 2>(walk, start, end, panel);
                    panel += 2;
                } else {
                    block_rows::<V, ROWS, 1>(walk, start, end, panel);
                    panel += 1;
                }
            }
        }
        start = end;
    }
}

/// Rows start..end against some panels.
#[inline(always)]
unsafe fn block_rows<V: Lanes, const ROWS: usize, const NV: usize>(
    walk: &Walk<'_>,
    start: usize,
    end: usize,
    panel: usize,
) {
    let mut place = Place::of(start, walk.width);
    let mut row = start;
    // While these panels are used the next ones come from memory, evenly during the first tiles, or, where those are
    // few, all during the first ones. Tiles of less than four rows are done before what they ask for has come.
    let mut ahead = walk.panels.data.wrapping_add((panel + NV) * walk.panels.stride);
    let per_turn = if (end - start) / ROWS < UNROLLED * NV { UNROLLED } else { 1 };
    let mut fetching_tiles = UNROLLED * NV / per_turn;
    let fetched = walk.panels.k / UNROLLED * per_turn * WIDTH;
    // SAFETY: each tile stays within start..end.
    unsafe {
        // Eight rows are two tiles of four: one of two has too few sums for AVX2's multipliers.
        while row + ROWS <= end && !(ROWS == 6 && end - row == 8) {
            let at = At { place, panel, ahead };
            match per_turn {
                _ if fetching_tiles == 0 => largest::<V, ROWS, NV, 0>(walk, at),
                1 => largest::<V, ROWS, NV, 1>(walk, at),
                // Few tiles: one form for all places is fast enough.
                _ => tile::<V, ROWS, NV, ANYWHERE, UNROLLED>(walk, at),
            }
            if fetching_tiles > 0 {
                fetching_tiles -= 1;
                ahead = ahead.wrapping_add(fetched);
            }
            place = place.after(ROWS, walk.width);
            row += ROWS;
        }
        // What is left in tiles of 4, 2 and 1: eight registers of sums are enough.
        while ROWS > 4 && row + 4 <= end {
            let at = At { place, panel, ahead };
            if fetching_tiles > 0 && per_turn > 1 {
                fetching_tiles -= 1;
                ahead = ahead.wrapping_add(fetched);
                tile::<V, 4, NV, ANYWHERE, UNROLLED>(walk, at);
            } else {
                tile::<V, 4, NV, ANYWHERE, 0>(walk, at);
            }
            place = place.after(4, walk.width);
            row += 4;
        }
        while ROWS > 2 && row + 2 <= end {
            tile::<V, 2, NV, ANYWHERE, 0>(walk, At { place, panel, ahead });
            place = place.after(2, walk.width);
            row += 2;
        }
        while row < end {
            tile::<V, 1, NV, EVEN, 0>(walk, At { place, panel, ahead });
            place = place.after(1, walk.width);
            row += 1;
        }
    }
}

/// A tile of as many rows as fit the registers.
#[inline(always)]
unsafe fn largest<V: Lanes, const ROWS: usize, const NV: usize, const FETCH: usize>(
    walk: &Walk<'_>,
    at: At,
) {
    // Pixels of a block of channels: their distance is known to the compiler.
    let blocks = walk.from.pixel == WIDTH && walk.to.strides.pixel == WIDTH;
    // SAFETY: the caller's.
    unsafe {
        if at.place.pixel + ROWS > walk.width {
            tile::<V, ROWS, NV, ANYWHERE, FETCH>(walk, at);
        } else if blocks {
            tile::<V, ROWS, NV, WIDTH, FETCH>(walk, at);
        } else {
            tile::<V, ROWS, NV, EVEN, FETCH>(walk, at);
        }
    }
}

/// Steps of a tile between two looks at the end.
const UNROLLED: usize = 4;

/// How far apart the rows of a tile lie, where it is not a constant: as its strides say, on one line.
pub(super) const EVEN: usize = 1;
/// The rows of a tile lie on several lines.
pub(super) const ANYWHERE: usize = 0;

/// A row as a pixel in a line.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub line: usize,
    pub pixel: usize,
}

impl Place {
    #[inline(always)]
    pub fn of(row: usize, width: usize) -> Self {
        // A matrix has one line, and a division takes as long as some rows of a small product.
        if row < width {
            return Self { line: 0, pixel: row };
        }
        Self { line: row / width, pixel: row % width }
    }

    #[inline(always)]
    pub fn offset(self, strides: Strides) -> usize {
        self.line * strides.line + self.pixel * strides.pixel
    }

    /// `rows` further, over the ends of lines.
    #[inline(always)]
    pub fn after(self, rows: usize, width: usize) -> Self {
        let mut place = Self { pixel: self.pixel + rows, ..self };
        while place.pixel >= width {
            place = Self { line: place.line + 1, pixel: place.pixel - width };
        }
        place
    }

    /// Where this row and the next ones lie: `STEP` floats apart, or [`EVEN`], or [`ANYWHERE`].
    #[inline(always)]
    fn offsets<const R: usize, const STEP: usize>(
        self,
        strides: Strides,
        width: usize,
    ) -> [usize; R] {
        let first = self.offset(strides);
        if STEP != ANYWHERE {
            let step = if STEP == EVEN { strides.pixel } else { STEP };
            return std::array::from_fn(|r| first + r * step);
        }
        let mut place = self;
        std::array::from_fn(|_| {
            let here = place;
            place = place.after(1, width);
            here.offset(strides)
        })
    }
}

/// Where a tile is: its first row and panel, and from where on lines of sixteen floats are fetched, `FETCH` of them
/// at each turn of its loop.
#[derive(Clone, Copy)]
struct At {
    place: Place,
    panel: usize,
    ahead: *const f32,
}

#[inline(always)]
unsafe fn tile<V: Lanes, const R: usize, const NV: usize, const STEP: usize, const FETCH: usize>(
    walk: &Walk<'_>,
    At { place, panel, mut ahead }: At,
) {
    let Panels { data, stride, bias, .. } = walk.panels;
    // SAFETY: the R rows, panels panel..panel+NV and k columns exist.
    unsafe {
        let mut b: [*const f32; NV] = std::array::from_fn(|v| data.add((panel + v) * stride));
        let first: [V; NV] = std::array::from_fn(|v| match bias {
            Some(bias) => V::load(bias.add((panel + v) * WIDTH)),
            None => V::splat(0.0),
        });
        let mut sums = [first; R];
        let rows: [usize; R] = place.offsets::<R, STEP>(walk.from, walk.width);
        for run in walk.runs {
            let first = walk.input.add(run.offset);
            let a: [*const f32; R] = if STEP > EVEN {
                let first = first.add(rows[0]);
                std::array::from_fn(|r| first.add(r * STEP))
            } else {
                std::array::from_fn(|r| first.add(rows[r]))
            };
            // Several steps a turn, or counting them would be a sixth of the instructions.
            let mut depth = 0;
            while R >= 4 && depth + UNROLLED <= run.count {
                for line in 0..FETCH {
                    V::prefetch(ahead.wrapping_add(line * WIDTH));
                }
                ahead = ahead.wrapping_add(FETCH * WIDTH);
                for step in depth..depth + UNROLLED {
                    step_of::<V, R, NV>(&a, &b, step, &mut sums);
                }
                depth += UNROLLED;
            }
            while depth < run.count {
                step_of::<V, R, NV>(&a, &b, depth, &mut sums);
                depth += 1;
            }
            for b in &mut b {
                *b = b.add(run.count * WIDTH);
            }
        }
        finish::<V, R, NV, STEP>(walk, place, panel, sums);
    }
}

/// Multiplies one value of each row by a line of each panel.
#[inline(always)]
unsafe fn step_of<V: Lanes, const R: usize, const NV: usize>(
    a: &[*const f32; R],
    b: &[*const f32; NV],
    depth: usize,
    sums: &mut [[V; NV]; R],
) {
    // SAFETY: the caller's: rows and panels have a value and a line there.
    unsafe {
        let mut weights = [V::splat(0.0); NV];
        for (weights, b) in weights.iter_mut().zip(b) {
            *weights = V::load(b.add(depth * WIDTH));
        }
        for (a, sums) in a.iter().zip(sums) {
            let value = V::splat(*a.add(depth));
            for (sum, &weight) in sums.iter_mut().zip(&weights) {
                *sum = value.fma(weight, *sum);
            }
        }
    }
}

/// Adds, activates and stores a tile.
#[inline(always)]
pub(super) unsafe fn finish<V: Lanes, const R: usize, const NV: usize, const STEP: usize>(
    walk: &Walk<'_>,
    place: Place,
    panel: usize,
    mut sums: [[V; NV]; R],
) {
    let part = |v: usize| walk.columns(panel + v);
    // SAFETY: the rows and the panels exist; loads and stores beyond n are masked.
    unsafe {
        if let Some(add) = walk.residual {
            let rows: [usize; R] = place.offsets::<R, STEP>(add.strides, walk.width);
            for v in 0..NV {
                let from = add.data.add((panel + v) * add.panel);
                for (sums, &row) in sums.iter_mut().zip(&rows) {
                    let at = from.add(row);
                    let more =
                        if part(v) == WIDTH { V::load(at) } else { V::load_part(at, part(v)) };
                    sums[v] = sums[v].add(more);
                }
            }
        }
        // Only where there is none do the sums stay in their registers on the way.
        if walk.activation == Activation::None {
            put::<V, R, NV, STEP>(walk, place, panel, sums);
        } else {
            sums = walk.activation.apply_all(sums);
            put::<V, R, NV, STEP>(walk, place, panel, sums);
        }
    }
}

/// Stores a tile.
#[inline(always)]
unsafe fn put<V: Lanes, const R: usize, const NV: usize, const STEP: usize>(
    walk: &Walk<'_>,
    place: Place,
    panel: usize,
    sums: [[V; NV]; R],
) {
    let Target { data, strides, panel: apart, .. } = walk.to;
    let part = |v: usize| walk.columns(panel + v);
    // SAFETY: as [`finish`].
    unsafe {
        let rows: [usize; R] = place.offsets::<R, STEP>(strides, walk.width);
        for v in 0..NV {
            let to = data.add((panel + v) * apart);
            for (sums, &row) in sums.iter().zip(&rows) {
                if part(v) == WIDTH {
                    sums[v].store(to.add(row));
                } else {
                    sums[v].store_part(to.add(row), part(v));
                }
            }
        }
    }
}
