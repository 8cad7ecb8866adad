//! Scaled dot-product attention (Vaswani et al. 2017) over keys and values that are kept between calls.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::Level;
use super::activation::Activation;
use super::buffer::Buffer;
use super::digits::Digits;
use super::gemm::is_worth_digits;
use super::lanes::WIDTH;
use super::rows::{exp_row, exp_row_in_digits, scale_row};
use super::team;
use super::tile::{Panels, Run, SHARED_ROWS, Strides, Target, Walk, walk};

/// Keys and values of one sequence, in the panels that attention multiplies by. Positions are added at
/// the end; a clone is a fork.
#[derive(Debug, Clone)]
pub struct KeyValues {
    heads: usize,
    depth: usize,
    length: usize,
    /// Positions there is room for: whole panels.
    capacity: usize,
    /// `[head][position / 16][depth][16]`.
    keys: Buffer,
    /// `[head][depth / 16][position][16]`.
    values: Buffer,
    /// Both once more, where [`KeyValues::settle`] made them.
    digits: Option<Settled>,
}

/// Keys and values as digits, in the same order.
#[derive(Debug, Clone)]
struct Settled {
    keys: Digits,
    values: Digits,
}

impl KeyValues {
    /// Room for `positions` positions of `heads` heads of `depth` values each. More take more room, by
    /// doubling.
    #[must_use]
    pub fn new(heads: usize, depth: usize, positions: usize) -> Self {
        let capacity = positions.next_multiple_of(WIDTH).max(WIDTH);
        let keys = Buffer::zeros(heads * capacity * depth);
        let values = Buffer::zeros(heads * capacity * depth.next_multiple_of(WIDTH));
        Self { heads, depth, length: 0, capacity, keys, values, digits: None }
    }

    /// Forgets every position, and keeps the room for more.
    pub fn clear(&mut self) {
        self.length = 0;
        self.digits = None;
    }

    /// All positions are there, and every query will see them all: from now on in the form in which this level is
    /// fastest for many queries. Another position undoes it.
    pub fn settle(&mut self, level: Level) {
        self.digits = None;
        if level == Level::Amx && is_worth_digits(self.length, self.depth) {
            self.digits = self.as_digits();
        }
    }

    /// Whether it was settled, and that made a difference.
    pub(super) fn is_settled(&self) -> bool {
        self.digits.is_some()
    }

    fn as_digits(&mut self) -> Option<Settled> {
        let (length, capacity) = (self.length, self.capacity);
        // What was there before would count when a column is scaled.
        for panel in self.values.chunks_exact_mut(capacity * WIDTH) {
            panel[length * WIDTH..].fill(0.0);
        }
        // Values first: they may have too many positions.
        let values = Digits::new(&self.values, capacity)?;
        Some(Settled { keys: Digits::new(&self.keys, self.depth)?, values })
    }

    /// Positions that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Adds positions: each row of `keys` and of `values` begins `stride` floats after the one before,
    /// and holds `heads · depth` values, head by head.
    ///
    /// # Panics
    /// When a slice is too short for `rows` rows.
    pub fn push(&mut self, keys: &[f32], values: &[f32], stride: usize, rows: usize) {
        let width = self.heads * self.depth;
        let reach = rows.checked_sub(1).map_or(0, |last| last * stride + width);
        assert!(keys.len() >= reach && values.len() >= reach, "rows of heads × depth values");
        self.digits = None;
        if self.length + rows > self.capacity {
            self.grow(self.length + rows);
        }
        let &mut Self { depth, length, capacity, .. } = self;
        let columns = |from, head: usize| Columns { from, stride, first: head * depth, depth };
        let (of_keys, of_values) = (capacity * depth, capacity * depth.next_multiple_of(WIDTH));
        team::share_rows(&mut self.keys, of_keys, rows * width, &|heads, regions| {
            for (head, region) in heads.zip(regions.chunks_exact_mut(of_keys)) {
                put_keys(region, length, &columns(keys, head), rows);
            }
        });
        team::share_rows(&mut self.values, of_values, rows * width, &|heads, regions| {
            for (head, region) in heads.zip(regions.chunks_exact_mut(of_values)) {
                put_values(region, length, &columns(values, head), rows);
            }
        });
        self.length += rows;
    }

    fn grow(&mut self, positions: usize) {
        let mut larger = Self::new(self.heads, self.depth, positions.max(2 * self.capacity));
        let regions = |all: usize| all / self.capacity;
        // Each region holds one value a position; a larger one begins the same.
        for (from, to, each) in
            [(&self.keys, &mut larger.keys, self.depth), (&self.values, &mut larger.values, WIDTH)]
        {
            let count = regions(from.len()) / each;
            let (old, new) = (self.capacity * each, larger.capacity * each);
            for region in 0..count {
                to[region * new..region * new + old]
                    .copy_from_slice(&from[region * old..(region + 1) * old]);
            }
        }
        larger.length = self.length;
        *self = larger;
    }

    /// `q · kᵀ / √depth` of one head, before softmax: [rows, positions]. `queries` are rows of heads · depth values.
    /// Nothing in a forward needs it alone; it shows where attention lies.
    ///
    /// # Panics
    /// When there is no such head.
    #[must_use]
    pub fn scores(&self, head: usize, queries: &[f32]) -> Vec<f32> {
        assert!(head < self.heads, "a head of those there are");
        #[expect(clippy::cast_precision_loss, reason = "a head's depth is small")]
        let scale = 1.0 / (self.depth as f32).sqrt();
        let region = &self.keys[head * self.capacity * self.depth..][..self.capacity * self.depth];
        let mut all = Vec::new();
        for row in queries.chunks_exact(self.heads * self.depth) {
            let query = &row[head * self.depth..][..self.depth];
            let line = region.chunks_exact(self.depth * WIDTH).flat_map(|panel| {
                let mut sums = [0.0_f32; WIDTH];
                for (&value, keys) in query.iter().zip(panel.chunks_exact(WIDTH)) {
                    for (sum, &key) in sums.iter_mut().zip(keys) {
                        *sum += value * key;
                    }
                }
                sums.map(|sum| sum * scale)
            });
            all.extend(line.take(self.length));
        }
        all
    }

    fn key_panels(&self, head: usize, seen: usize) -> Panels {
        if let Some(digits) = &self.digits {
            return digits.keys.panels((head, self.heads), (seen, self.depth));
        }
        Panels {
            data: self.keys[head * self.capacity * self.depth..].as_ptr(),
            stride: self.depth * WIDTH,
            bias: None,
            back: None,
            k: self.depth,
            n: seen,
        }
    }

    fn value_panels(&self, head: usize, seen: usize) -> Panels {
        if let Some(digits) = &self.digits {
            return digits.values.panels((head, self.heads), (self.depth, seen));
        }
        let panels = self.depth.div_ceil(WIDTH);
        Panels {
            data: self.values[head * panels * self.capacity * WIDTH..].as_ptr(),
            stride: self.capacity * WIDTH,
            bias: None,
            back: None,
            k: seen,
            n: self.depth,
        }
    }
}

/// The columns of one head in rows that are added.
struct Columns<'a> {
    from: &'a [f32],
    stride: usize,
    first: usize,
    depth: usize,
}

impl Columns<'_> {
    fn row(&self, row: usize) -> &[f32] {
        &self.from[row * self.stride + self.first..][..self.depth]
    }
}

/// Keys from the position `first` on, into a head's panels `[position / 16][depth][16]`.
fn put_keys(region: &mut [f32], first: usize, keys: &Columns<'_>, count: usize) {
    let mut row = 0;
    while row < count {
        let (panel, lane) = ((first + row) / WIDTH, (first + row) % WIDTH);
        let lines = &mut region[panel * WIDTH * keys.depth..][..WIDTH * keys.depth];
        if lane == 0 && row + WIDTH <= count {
            // Line by line, or each would be written to sixteen times.
            let rows: [&[f32]; WIDTH] = std::array::from_fn(|lane| keys.row(row + lane));
            for (at, line) in lines.chunks_exact_mut(WIDTH).enumerate() {
                for (place, row) in line.iter_mut().zip(&rows) {
                    *place = row[at];
                }
            }
            row += WIDTH;
        } else {
            for (place, &value) in lines[lane..].iter_mut().step_by(WIDTH).zip(keys.row(row)) {
                *place = value;
            }
            row += 1;
        }
    }
}

/// Values from the position `first` on, into a head's panels `[depth / 16][position][16]`.
fn put_values(region: &mut [f32], first: usize, values: &Columns<'_>, count: usize) {
    let panel = region.len() / values.depth.div_ceil(WIDTH);
    for (index, panel) in region.chunks_exact_mut(panel).enumerate() {
        let columns = index * WIDTH..((index + 1) * WIDTH).min(values.depth);
        for (row, line) in panel[first * WIDTH..].chunks_exact_mut(WIDTH).take(count).enumerate() {
            line[..columns.len()].copy_from_slice(&values.row(row)[columns.clone()]);
        }
    }
}

/// One call: queries of one sequence against its keys and values.
pub struct Attention<'a> {
    /// Rows of `heads · depth` values, head by head.
    pub queries: &'a [f32],
    /// Floats from one query to the next.
    pub stride: usize,
    pub rows: usize,
    pub memory: &'a KeyValues,
    /// How many positions the first query sees; each next one sees one more. Without it, all see all.
    pub causal: Option<usize>,
    /// As the queries, rows one after the other.
    pub out: &'a mut [f32],
}

/// Room that calls use again, a set for each thread of a call.
#[derive(Debug, Default)]
pub struct Scratch(Mutex<Vec<Room>>);

#[derive(Debug, Default)]
struct Room {
    /// A line a query.
    scores: Buffer,
    /// The sum of a query's line.
    totals: Vec<f32>,
}

impl Scratch {
    fn pop(&self) -> Room {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn push(&self, room: Room) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(room);
    }
}

/// Scores that are kept at once, in bytes: they stay in the cache between the two products.
const SCORES_BYTES: usize = 256 << 10;

/// `softmax(q · kᵀ / √depth) · v`, head by head. A row's bits do not depend on the others.
///
/// # Panics
/// When a slice is too short, nothing is kept, or `causal` names positions that are not kept or hides some that are
/// settled.
pub fn attend(level: Level, attention: Attention<'_>, scratch: &Scratch) {
    let Attention { queries, stride, rows, memory, causal, out } = attention;
    let width = memory.heads * memory.depth;
    if rows == 0 {
        return;
    }
    // An end beyond all memory is beyond every slice.
    let reach = (rows - 1).saturating_mul(stride).saturating_add(width);
    assert!(
        queries.len() >= reach && out.len() >= rows.saturating_mul(width),
        "rows of heads × depth values"
    );
    let first = causal.unwrap_or(memory.length);
    let last = causal.map_or(first, |first| first.saturating_add(rows - 1));
    assert!(first > 0 && last <= memory.length, "positions are kept");
    assert!(causal.is_none() || !memory.is_settled(), "a query sees all of what is settled");
    let out = out.as_mut_ptr();
    let pass = &Pass { level, queries, stride, rows, memory, causal, out, scratch };
    let (count, work) = (memory.heads * pass.blocks(), 2 * rows * memory.length * width);
    // Small products with a softmax between them: to share them pays later.
    if work < 4 * team::SHARED_MIN || team::threads() == 1 {
        // SAFETY: every row has its place.
        return unsafe { pass.part(0..count) };
    }
    // SAFETY: as above, and no two pieces write the same rows of a head.
    team::share(count, 1, work, &|own| unsafe { pass.part(own) });
}

/// One call. Several threads may do it, each some blocks of rows of some heads.
struct Pass<'a> {
    level: Level,
    queries: &'a [f32],
    stride: usize,
    rows: usize,
    memory: &'a KeyValues,
    causal: Option<usize>,
    /// rows × heads × depth.
    out: *mut f32,
    scratch: &'a Scratch,
}

// SAFETY: what it points to is written at the rows and columns of each thread's own blocks.
unsafe impl Sync for Pass<'_> {}

impl Pass<'_> {
    /// Positions that a row sees.
    fn seen(&self, row: usize) -> usize {
        self.causal.map_or(self.memory.length, |first| first + row)
    }

    /// Rows whose scores are kept at once.
    fn block(&self) -> usize {
        let line = self.memory.length.next_multiple_of(WIDTH);
        (SCORES_BYTES / 4 / line).max(1).next_multiple_of(SHARED_ROWS).min(self.rows)
    }

    /// Blocks of rows, the last of which may be shorter.
    fn blocks(&self) -> usize {
        self.rows.div_ceil(self.block())
    }

    /// Some blocks, counted over the first head's, then the second's.
    ///
    /// # Safety
    /// `out` must have room for all rows, and nobody else may use these blocks of it.
    unsafe fn part(&self, own: Range<usize>) {
        let mut room = self.scratch.pop();
        let (block, blocks) = (self.block(), self.blocks());
        for place in own {
            let start = place % blocks * block;
            let rows = start..(start + block).min(self.rows);
            // SAFETY: the caller's.
            unsafe { self.mix(place / blocks, rows, &mut room) };
        }
        self.scratch.push(room);
    }

    /// Some rows of a head.
    ///
    /// # Safety
    /// As [`Pass::part`].
    unsafe fn mix(&self, head: usize, rows: Range<usize>, room: &mut Room) {
        let &Self { level, queries, stride, memory, out, .. } = self;
        let (depth, width) = (memory.depth, memory.heads * memory.depth);
        let line = memory.length.next_multiple_of(WIDTH);
        let (start, count, most) = (rows.start, rows.len(), self.seen(rows.end - 1));
        room.scores.resize(self.block() * line);
        let from = queries[start * stride + head * depth..].as_ptr();
        let keys = Rows { panels: memory.key_panels(head, most), from, stride, count };
        // SAFETY: `count` queries from `start` on are there, and the scores have a line for each.
        unsafe { keys.times(level, room.scores.as_mut_ptr(), line) };
        let power = if memory.is_settled() { exp_row_in_digits } else { exp_row };
        weigh(level, room, line, rows.map(|row| self.seen(row)), (depth, power));
        let from = room.scores.as_ptr();
        let values = Rows { panels: memory.value_panels(head, most), from, stride: line, count };
        // SAFETY: a line a row of `most` scores, and `count` rows of this head from `start` on.
        unsafe {
            let to = out.add(start * width + head * depth);
            values.times(level, to, width);
            for (row, &total) in room.totals.iter().enumerate() {
                let row = std::slice::from_raw_parts_mut(to.add(row * width), depth);
                scale_row(level, row, 1.0 / total);
            }
        }
    }
}

/// [`exp_row`], or as digits keep it.
type ExpRow = fn(Level, &mut [f32], f32) -> f32;

/// Scores to weights that are still to be divided by their total. What a row does not see gets 0.
fn weigh(
    level: Level,
    room: &mut Room,
    line: usize,
    seen: impl Iterator<Item = usize>,
    (depth, power): (usize, ExpRow),
) {
    #[expect(clippy::cast_precision_loss, reason = "a head's depth is small")]
    let scale = 1.0 / (depth as f32).sqrt();
    room.totals.clear();
    for (scores, seen) in room.scores.chunks_exact_mut(line).zip(seen) {
        let (visible, hidden) = scores.split_at_mut(seen);
        room.totals.push(power(level, visible, scale));
        hidden.fill(0.0);
    }
}

/// Some rows against the panels of one head.
struct Rows {
    panels: Panels,
    from: *const f32,
    stride: usize,
    count: usize,
}

impl Rows {
    /// # Safety
    /// `count` rows of the panels' k floats must lie at `from`, `stride` apart, and there must be room
    /// for as many of their n floats at `out`, `out_stride` apart.
    unsafe fn times(&self, level: Level, out: *mut f32, out_stride: usize) {
        let pass = Walk {
            panels: self.panels,
            input: self.from,
            from: Strides::matrix(self.stride),
            runs: &[Run { offset: 0, count: self.panels.k }],
            m: self.count,
            width: self.count,
            to: Target {
                data: out,
                strides: Strides::matrix(out_stride),
                panel: WIDTH,
                whole: false,
            },
            residual: None,
            activation: Activation::None,
        };
        // SAFETY: the caller's.
        unsafe { walk(level, &pass) };
    }
}
