//! Floats as whole numbers of three digits.
//!
//! A row of floats is scaled by a power of two until its largest is a whole number of 23 bits, and each number
//! is written with three digits of 8 bits with a sign, base 256. A sum of products then is a few sums of
//! products of bytes, which are exact. Of the nine pairs of digits the three smallest are left out (the scheme
//! of Ozaki et al. 2012; with bytes, Ootomo, Ozaki and Yokota 2024).
//!
//! What is lost of each product is about 2⁻²³ of the largest that there could be, of a sum of k products therefore
//! √k times that, and k times at worst. With floats what is lost is a part of each product: a row whose
//! values are of much the same size comes out as near, one with a value thousands of times larger than the others keeps
//! three digits less of those.

use std::arch::x86_64::{
    __m512, __m512i, _mm512_and_si512, _mm512_castps_si512, _mm512_cvtps_epi32, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_maskz_loadu_ps, _mm512_max_epu32, _mm512_reduce_max_epu32,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_slli_epi32,
    _mm512_srli_epi32, _mm512_storeu_si512, _mm512_ternarylogic_epi32, _mm512_xor_si512,
};

use crate::compute::kernels::buffer::Buffer;
use crate::compute::kernels::lanes::WIDTH;

/// Values that one pair of tiles multiplies: sixteen times four bytes.
pub const DEPTH: usize = 4 * WIDTH;
/// Bytes of a tile: a digit of `DEPTH` values of sixteen rows, or of sixteen columns.
pub const TILE: usize = WIDTH * DEPTH;
/// Bytes of a block: the tiles of three digits, the most significant one first.
pub const BLOCK: usize = 3 * TILE;

/// The largest whole number that three digits with a sign hold.
const LARGEST: f32 = 8_355_711.0;
/// Half of the base in each digit. A number plus this has digits without a sign.
const HALVES: f32 = 8_421_504.0;
/// The bits of a float that are not its sign.
const SIZE: i32 = 0x7FFF_FFFF;
/// Those of its exponent: an infinity.
const EXPONENT: u32 = 0x7F80_0000;
/// Those of its fraction.
const FRACTION: u32 = 0x007F_FFFF;

/// Powers of two: what floats are multiplied by to become whole numbers, and 256 times what undoes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    pub whole: f32,
    pub back: f32,
}

impl Scale {
    /// For floats of which the largest has these bits, without its sign. Where one is infinite or no number, what
    /// comes back is no number.
    #[inline(always)]
    pub fn of(largest: u32) -> Self {
        /// Rows of smaller floats keep fewer digits, and in the end none.
        const LEAST: f32 = 1e-30;
        if largest >= EXPONENT {
            return Self { whole: 0.0, back: f32::NAN };
        }
        let largest = largest.max(LEAST.to_bits());
        // 2²² over the largest power of two within the largest; or half of that, where 23 bits would not do.
        let mut whole = power_bits(22) + power_bits(0) - (largest & EXPONENT);
        if largest & FRACTION > LARGEST.to_bits() & FRACTION {
            whole -= power_bits(1) - power_bits(0);
        }
        let back = power_bits(8) + power_bits(0) - whole;
        Self { whole: f32::from_bits(whole), back: f32::from_bits(back) }
    }
}

/// The bits of a power of two. Those of a quotient of two are their difference, and those of 1.
const fn power_bits(exponent: u32) -> u32 {
    (127 + exponent) << 23
}

/// Panels `[n / 16][k][16]` as tiles, `[panel][block of 64 values][digit]`, and each column's [`Scale::back`].
///
/// # Safety
/// The processor must have AVX-512F.
pub unsafe fn panels(panels: &[f32], k: usize) -> (Buffer, Buffer) {
    let count = panels.len() / (k * WIDTH);
    let each = k.div_ceil(DEPTH) * BLOCK / 4;
    let mut tiles = Buffer::zeros(count * each);
    let mut back = Buffer::zeros(count * WIDTH);
    let columns = back.chunks_exact_mut(WIDTH).zip(tiles.chunks_exact_mut(each));
    for (panel, (back, tiles)) in panels.chunks_exact(k * WIDTH).zip(columns) {
        let mut largest = [0; WIDTH];
        for line in panel.chunks_exact(WIDTH) {
            for (largest, value) in largest.iter_mut().zip(line) {
                *largest = value.abs().to_bits().max(*largest);
            }
        }
        let scales = largest.map(Scale::of);
        back.copy_from_slice(&scales.map(|scale| scale.back));
        // SAFETY: the caller's.
        unsafe { split_panel(panel, &scales.map(|scale| scale.whole), tiles) };
    }
    (tiles, back)
}

/// A value of a panel's column, which is scaled back by `back`.
pub fn value(panel: &[f32], (depth, lane): (usize, usize), back: f32) -> f32 {
    let bytes: &[i8] = bytemuck::cast_slice(panel);
    let (part, row) = (depth % DEPTH / WIDTH, depth % WIDTH);
    let first = depth / DEPTH * BLOCK + row * DEPTH + 4 * lane + part;
    let number = |so_far: f32, digit| so_far * 256.0 + f32::from(bytes[first + digit * TILE]);
    (0..3).fold(0.0, number) * (back / 256.0)
}

/// The digits of one panel: of four lines, sixteen apart, the bytes of a column lie side by side.
///
/// # Safety
/// The processor must have AVX-512F.
#[target_feature(enable = "avx512f")]
unsafe fn split_panel(panel: &[f32], whole: &[f32; WIDTH], tiles: &mut [f32]) {
    let lines = panel.len() / WIDTH;
    // SAFETY: the lines that are read exist, and a block has room for sixteen lines of each digit.
    unsafe {
        let whole = _mm512_loadu_ps(whole.as_ptr());
        for (block, tiles) in tiles.chunks_exact_mut(BLOCK / 4).enumerate() {
            for row in 0..WIDTH {
                let mut values = [_mm512_setzero_ps(); 4];
                for (part, value) in values.iter_mut().enumerate() {
                    let line = block * DEPTH + part * WIDTH + row;
                    if line < lines {
                        *value = _mm512_loadu_ps(panel.as_ptr().add(line * WIDTH));
                    }
                }
                let to = tiles.as_mut_ptr().cast::<u8>().add(row * DEPTH);
                store(split(values, whole), to, TILE);
            }
        }
    }
}

/// The scale of one row of `k` floats.
///
/// # Safety
/// The floats must be there; the caller must have AVX-512F enabled.
#[inline(always)]
pub unsafe fn scale(from: *const f32, k: usize) -> Scale {
    // SAFETY: the caller's.
    unsafe {
        let mut largest = [_mm512_setzero_si512(); 4];
        let mut at = 0;
        while at < k {
            for (largest, value) in largest.iter_mut().zip(four(from.add(at), k - at)) {
                let size = _mm512_and_si512(_mm512_castps_si512(value), _mm512_set1_epi32(SIZE));
                *largest = _mm512_max_epu32(*largest, size);
            }
            at += DEPTH;
        }
        let [first, others @ ..] = largest;
        let mut all = first;
        for largest in others {
            all = _mm512_max_epu32(all, largest);
        }
        Scale::of(_mm512_reduce_max_epu32(all))
    }
}

/// The digits of one row of `k` floats that `whole` makes whole numbers, as rows of tiles: one digit's begins `apart` bytes
/// after the other's, the first at `to`.
///
/// # Safety
/// The floats must be there and the tiles have room; the caller must have AVX-512F enabled.
#[inline(always)]
pub unsafe fn digits(from: *const f32, k: usize, whole: f32, mut to: *mut u8, apart: usize) {
    // SAFETY: the caller's.
    unsafe {
        let whole = _mm512_set1_ps(whole);
        let mut at = 0;
        while at < k {
            store(split(four(from.add(at), k - at), whole), to, apart);
            to = to.add(BLOCK);
            at += DEPTH;
        }
    }
}

/// Sixty-four floats, or the last ones and zeros.
#[inline(always)]
unsafe fn four(from: *const f32, left: usize) -> [__m512; 4] {
    // SAFETY: the caller's.
    unsafe {
        let mut values = [_mm512_setzero_ps(); 4];
        for (part, value) in values.iter_mut().enumerate() {
            let at = from.wrapping_add(part * WIDTH);
            *value = if left >= DEPTH {
                _mm512_loadu_ps(at)
            } else {
                let count = left.saturating_sub(part * WIDTH).min(WIDTH);
                #[expect(clippy::cast_possible_truncation, reason = "16 bits are meant")]
                _mm512_maskz_loadu_ps(((1_u32 << count) - 1) as u16, at)
            };
        }
        values
    }
}

/// The three digits of four vectors, times `whole`: the bytes of a lane are the same digit of the four.
#[inline(always)]
unsafe fn split(values: [__m512; 4], whole: __m512) -> [__m512i; 3] {
    /// Every second byte, and the first half of a lane.
    const BYTES: i32 = 0x00FF_00FF;
    const HALF: i32 = 0x0000_FFFF;
    // SAFETY: the caller's.
    unsafe {
        let mut numbers = [_mm512_setzero_si512(); 4];
        for (number, value) in numbers.iter_mut().zip(values) {
            // To a whole number but for what is smaller than a quarter of the largest, which is rounded a second time.
            let sum = _mm512_fmadd_ps(value, whole, _mm512_set1_ps(HALVES));
            *number = _mm512_cvtps_epi32(sum);
        }
        let [a, b, c, d] = numbers;
        // A number's low, middle and high byte, from the lane's first on: a0 b0 a2 b2, and a1 b1.
        let outer = choose(BYTES, a, _mm512_slli_epi32::<8>(b));
        let inner = choose(BYTES, _mm512_srli_epi32::<8>(a), b);
        let others = choose(BYTES, c, _mm512_slli_epi32::<8>(d));
        let inner_others = choose(BYTES, _mm512_srli_epi32::<8>(c), d);
        let high = choose(HALF, _mm512_srli_epi32::<16>(outer), others);
        let middle = choose(HALF, inner, _mm512_slli_epi32::<16>(inner_others));
        let low = choose(HALF, outer, _mm512_slli_epi32::<16>(others));
        [less_half(high), less_half(middle), less_half(low)]
    }
}

/// A bit of the first where the mask is set, of the second elsewhere.
#[inline(always)]
unsafe fn choose(mask: i32, first: __m512i, second: __m512i) -> __m512i {
    // SAFETY: the caller's.
    unsafe { _mm512_ternarylogic_epi32::<0xCA>(_mm512_set1_epi32(mask), first, second) }
}

/// Bytes less half of the base: with a sign.
#[inline(always)]
unsafe fn less_half(bytes: __m512i) -> __m512i {
    // SAFETY: the caller's.
    unsafe { _mm512_xor_si512(bytes, _mm512_set1_epi32(0x8080_8080_u32.cast_signed())) }
}

#[inline(always)]
unsafe fn store([high, middle, low]: [__m512i; 3], to: *mut u8, apart: usize) {
    // SAFETY: the caller's: there is room for three.
    unsafe {
        _mm512_storeu_si512(to.cast(), high);
        _mm512_storeu_si512(to.add(apart).cast(), middle);
        _mm512_storeu_si512(to.add(2 * apart).cast(), low);
    }
}
