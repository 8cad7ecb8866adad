//! Scaled dot-product attention (Vaswani et al. 2017) over keys and values that are kept between calls.

use super::Level;
use super::activation::Activation;
use super::buffer::Buffer;
use super::lanes::WIDTH;
use super::rows::{exp_row, scale_row};
use super::team;
use super::tile::{Panels, Run, Strides, Target, Walk, walk};

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
}

impl KeyValues {
    /// Room for `positions` positions of `heads` heads of `depth` values each. More take more room, by
    /// doubling.
    #[must_use]
    pub fn new(heads: usize, depth: usize, positions: usize) -> Self {
        let capacity = positions.next_multiple_of(WIDTH).max(WIDTH);
        let keys = Buffer::zeros(heads * capacity * depth);
        let values = Buffer::zeros(heads * capacity * depth.next_multiple_of(WIDTH));
        Self { heads, depth, length: 0, capacity, keys, values }
    }

    /// Forgets every position, and keeps the room.
    pub fn clear(&mut self) {
        self.length = 0;
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
        if self.length + rows > self.capacity {
            self.grow(self.length + rows);
        }
        for row in 0..rows {
            let position = self.length + row;
            let from = row * stride..row * stride + width;
            self.put_key(position, &keys[from.clone()]);
            self.put_value(position, &values[from]);
        }
        self.length += rows;
    }

    fn put_key(&mut self, position: usize, row: &[f32]) {
        let (panel, lane) = (position / WIDTH, position % WIDTH);
        for (head, part) in row.chunks_exact(self.depth).enumerate() {
            let start = (head * self.capacity + panel * WIDTH) * self.depth;
            let panel = &mut self.keys[start..start + self.depth * WIDTH];
            for (place, &value) in panel[lane..].iter_mut().step_by(WIDTH).zip(part) {
                *place = value;
            }
        }
    }

    fn put_value(&mut self, position: usize, row: &[f32]) {
        let panels = self.depth.div_ceil(WIDTH);
        for (head, part) in row.chunks_exact(self.depth).enumerate() {
            for (panel, part) in part.chunks(WIDTH).enumerate() {
                let start = ((head * panels + panel) * self.capacity + position) * WIDTH;
                self.values[start..start + part.len()].copy_from_slice(part);
            }
        }
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
        Panels {
            data: self.keys[head * self.capacity * self.depth..].as_ptr(),
            stride: self.depth * WIDTH,
            bias: None,
            k: self.depth,
            n: seen,
        }
    }

    fn value_panels(&self, head: usize, seen: usize) -> Panels {
        let panels = self.depth.div_ceil(WIDTH);
        Panels {
            data: self.values[head * panels * self.capacity * WIDTH..].as_ptr(),
            stride: self.capacity * WIDTH,
            bias: None,
            k: seen,
            n: self.depth,
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

/// Room that calls use again.
#[derive(Debug, Default)]
pub struct Scratch {
    /// A line a query.
    scores: Buffer,
    /// The sum of a query's line.
    totals: Vec<f32>,
}

/// Scores that are kept at once, in bytes: they stay in the cache between the two products.
const SCORES_BYTES: usize = 256 << 10;

/// Multiply-adds that are worth a second thread: some microseconds.
const SHARED_MIN: usize = 1 << 19;

/// `softmax(q · kᵀ / √depth) · v`, head by head. A row's bits do not depend on the others.
///
/// # Panics
/// When a slice is too short, nothing is kept, or `causal` names positions that are not kept.
pub fn attend(level: Level, attention: Attention<'_>, scratch: &mut Scratch) {
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
    let pass = &Pass { level, queries, stride, rows, memory, causal, out: out.as_mut_ptr() };
    if rows * memory.length * width < SHARED_MIN || team::threads() == 1 {
        // SAFETY: every row has its place.
        return (0..memory.heads).for_each(|head| unsafe { pass.head(head, scratch) });
    }
    // SAFETY: as above, and no two pieces write the same head.
    team::each(memory.heads, &|head| unsafe { pass.head(head, &mut Scratch::default()) });
}

/// One call, whose heads several threads may do.
struct Pass<'a> {
    level: Level,
    queries: &'a [f32],
    stride: usize,
    rows: usize,
    memory: &'a KeyValues,
    causal: Option<usize>,
    /// rows × heads × depth.
    out: *mut f32,
}

// SAFETY: what it points to is written at the columns of each thread's own heads.
unsafe impl Sync for Pass<'_> {}

impl Pass<'_> {
    /// Positions that a row sees.
    fn seen(&self, row: usize) -> usize {
        self.causal.map_or(self.memory.length, |first| first + row)
    }

    /// # Safety
    /// `out` must have room for all rows, and nobody else may use this head's columns of it.
    unsafe fn head(&self, head: usize, scratch: &mut Scratch) {
        let &Self { level, queries, stride, rows, memory, out, .. } = self;
        let (depth, width) = (memory.depth, memory.heads * memory.depth);
        let line = memory.length.next_multiple_of(WIDTH);
        let block = (SCORES_BYTES / 4 / line).max(1).next_multiple_of(12).min(rows);
        scratch.scores.resize(block * line);
        for start in (0..rows).step_by(block.max(1)) {
            let count = block.min(rows - start);
            let most = self.seen(start + count - 1);
            let from = queries[start * stride + head * depth..].as_ptr();
            let keys = Part { panels: memory.key_panels(head, most), from, stride, count };
            // SAFETY: `count` queries from `start` on are there, and the scores have a line for each.
            unsafe { keys.times(level, scratch.scores.as_mut_ptr(), line) };
            weigh(level, scratch, line, (0..count).map(|row| self.seen(start + row)), depth);
            let from = scratch.scores.as_ptr();
            let values =
                Part { panels: memory.value_panels(head, most), from, stride: line, count };
            // SAFETY: a line a row of `most` scores, and `count` rows of this head from `start` on.
            unsafe {
                let to = out.add(start * width + head * depth);
                values.times(level, to, width);
                for (row, &total) in scratch.totals.iter().enumerate() {
                    let row = std::slice::from_raw_parts_mut(to.add(row * width), depth);
                    scale_row(level, row, 1.0 / total);
                }
            }
        }
    }
}

/// Scores to weights that are still to be divided by their total. What a row does not see gets 0.
fn weigh(
    level: Level,
    scratch: &mut Scratch,
    line: usize,
    seen: impl Iterator<Item = usize>,
    depth: usize,
) {
    #[expect(clippy::cast_precision_loss, reason = "a head's depth is small")]
    let scale = 1.0 / (depth as f32).sqrt();
    scratch.totals.clear();
    for (scores, seen) in scratch.scores.chunks_exact_mut(line).zip(seen) {
        let (visible, hidden) = scores.split_at_mut(seen);
        scratch.totals.push(exp_row(level, visible, scale));
        hidden.fill(0.0);
    }
}

/// Some rows against the panels of one head.
struct Part {
    panels: Panels,
    from: *const f32,
    stride: usize,
    count: usize,
}

impl Part {
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
