//! Numbers: from decimal digits to the nearest float, without a detour where none is needed.

use std::ops::RangeInclusive;

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// The doubles nearest to the powers of ten from -22 to 22: a product with one is quicker than a quotient.
const SCALES: [f64; 45] = [
    1e-22, 1e-21, 1e-20, 1e-19, 1e-18, 1e-17, 1e-16, 1e-15, 1e-14, 1e-13, 1e-12, 1e-11, 1e-10,
    1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7,
    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// Digits that always fit 64 bits.
const DIGITS_MAX: usize = 19;

/// Whole numbers up to here are doubles.
const EXACT_MAX: u64 = 1 << 53;

/// What a normal 32-bit float can be, as doubles.
const SINGLES: RangeInclusive<f64> = f32::MIN_POSITIVE as f64..=f32::MAX as f64;

/// A number as it was written, taken apart: `mantissa` times ten to the `exponent`.
#[derive(Debug, Clone, Copy)]
pub struct Number<'a> {
    text: &'a [u8],
    mantissa: u64,
    exponent: i32,
    negative: bool,
    /// Whether `mantissa` holds every digit.
    whole: bool,
}

impl<'a> Number<'a> {
    /// Reads the number that `bytes` start with, as RFC 8259 6 has it.
    ///
    /// # Errors
    /// Where a digit had to be and is none.
    pub fn read(bytes: &'a [u8]) -> Result<Self, usize> {
        let negative = bytes.first() == Some(&b'-');
        let start = usize::from(negative);
        let mut digits = Digits { bytes, at: start, mantissa: 0 };
        if bytes.get(start) == Some(&b'0') {
            digits.at += 1;
        } else {
            digits.some()?;
        }
        let mut count = digits.at - start;
        let mut fraction = 0;
        if bytes.get(digits.at) == Some(&b'.') {
            digits.at += 1;
            fraction = digits.some()?;
            count += fraction;
        }
        let (mantissa, mut at) = (digits.mantissa, digits.at);
        let mut exponent = 0;
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            (exponent, at) = power(bytes, at + 1)?;
        }
        let shift = i32::try_from(fraction).unwrap_or(i32::MAX);
        let text = &bytes[..at];
        let whole = count <= DIGITS_MAX || count - leading_zeros(text) <= DIGITS_MAX;
        Ok(Self { text, mantissa, exponent: exponent.saturating_sub(shift), negative, whole })
    }

    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// The nearest 32-bit float, ties to even: what `str::parse` gives. Infinite when there is none.
    pub fn single(&self) -> f32 {
        if let Some(wide) = self.nearly()
            && (SINGLES.contains(&wide) || wide == 0.0)
            && let Some(single) = rounded(wide, self.negative)
        {
            return single;
        }
        self.parsed().unwrap_or(f32::INFINITY)
    }

    /// The nearest double. Infinite when there is none.
    pub fn double(&self) -> f64 {
        match self.exactly() {
            Some(wide) => {
                if self.negative {
                    -wide
                } else {
                    wide
                }
            }
            None => self.parsed().unwrap_or(f64::INFINITY),
        }
    }

    /// The number without its sign, off by three units of its last place at most; `None` when that may be more.
    #[expect(clippy::cast_precision_loss, reason = "the caller knows by how much")]
    fn nearly(&self) -> Option<f64> {
        let scale = SCALES.get(usize::try_from(self.exponent.checked_add(22)?).ok()?)?;
        self.whole.then_some(self.mantissa as f64 * scale)
    }

    /// The number without its sign by one operation on doubles, which rounds once.
    #[expect(clippy::cast_precision_loss, reason = "no more than a double holds")]
    fn exactly(&self) -> Option<f64> {
        let power = POWERS.get(usize::try_from(self.exponent.unsigned_abs()).ok()?)?;
        let mantissa = self.mantissa as f64;
        let scaled = if self.exponent < 0 { mantissa / power } else { mantissa * power };
        (self.whole && self.mantissa <= EXACT_MAX).then_some(scaled)
    }

    /// The long way, for numbers that are long, large, small or between two floats.
    fn parsed<T: std::str::FromStr>(&self) -> Option<T> {
        std::str::from_utf8(self.text).ok()?.parse().ok()
    }
}

/// A run of digits that add to a number.
struct Digits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Wraps around when there are more than fit.
    mantissa: u64,
}

impl Digits<'_> {
    /// Reads one digit or more; how many.
    fn some(&mut self) -> Result<usize, usize> {
        let start = self.at;
        while let Some(eight) = self.bytes.get(self.at..self.at + 8).and_then(eight) {
            self.mantissa = self.mantissa.wrapping_mul(100_000_000).wrapping_add(eight);
            self.at += 8;
        }
        while let Some(digit @ b'0'..=b'9') = self.bytes.get(self.at) {
            self.mantissa = self.mantissa.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        if self.at == start { Err(start) } else { Ok(self.at - start) }
    }
}

/// The value of eight digits. `None` when one of them is no digit.
fn eight(bytes: &[u8]) -> Option<u64> {
    let word = u64::from_le_bytes(bytes.try_into().ok()?);
    (leading_digits(word) == 8).then(|| value(word, 8))
}

/// The exponent that stands at `at`, and where it ends. A huge one stays huge.
#[cold]
fn power(bytes: &[u8], mut at: usize) -> Result<(i32, usize), usize> {
    let negative = bytes.get(at) == Some(&b'-');
    if matches!(bytes.get(at), Some(b'-' | b'+')) {
        at += 1;
    }
    let (start, mut power) = (at, 0_i32);
    while let Some(digit @ b'0'..=b'9') = bytes.get(at) {
        power = power.saturating_mul(10).saturating_add(i32::from(digit - b'0'));
        at += 1;
    }
    if at == start {
        return Err(at);
    }
    Ok((if negative { -power } else { power }, at))
}

/// Zeros before the first digit that counts.
fn leading_zeros(text: &[u8]) -> usize {
    let places = text.iter().take_while(|byte| matches!(byte, b'-' | b'.' | b'0'));
    places.filter(|&&byte| byte == b'0').count()
}

/// How many bytes [`usual`] and [`whole`] look at.
pub const WINDOW: usize = 32;

/// The number that bytes begin with, and its length, where it is one of up to three digits, a point, more digits, 19
/// together at most, and no exponent. Most are, and this is much quicker than [`Number`], which reads all others: of its
/// branches only one, on the number of digits, is hard to foretell.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a call for each number takes a quarter of the time")]
#[expect(clippy::cast_precision_loss, reason = "`rounded` knows by how much")]
pub fn usual(bytes: &[u8; WINDOW]) -> Option<(f32, usize)> {
    let negative = bytes[0] == b'-';
    let start = usize::from(negative);
    let (mut mantissa, places) = before_point(*bytes[start..].first_chunk()?)?;
    let fraction = start + places + 1;
    let word = |at| bytes[at..].first_chunk().map(|word| u64::from_le_bytes(*word));
    let first = word(fraction)?;
    let mut count = leading_digits(first);
    mantissa = mantissa * TENS[count] + value(first, count);
    if count == 8 {
        let second = word(fraction + 8)?;
        let more = leading_digits(second);
        mantissa = mantissa * TENS[more] + value(second, more);
        count += more;
        if more == 8 {
            let third = word(fraction + 16)?;
            let rest = leading_digits(third);
            if places + 16 + rest > DIGITS_MAX {
                return None;
            }
            mantissa = mantissa * TENS[rest] + value(third, rest);
            count += rest;
        }
    }
    let length = fraction + count;
    if count == 0 || matches!(bytes[length], b'e' | b'E') {
        return None;
    }
    // Within what a normal float can be, or zero.
    let single = rounded(mantissa as f64 * SCALES[22 - count], negative)?;
    Some((single, length))
}

/// The digits that stand before a point, and how many: one to three.
#[inline]
fn before_point(bytes: [u8; 4]) -> Option<(u64, usize)> {
    const POINT: u64 = (b'.'.wrapping_sub(b'0')) as u64;
    let [a, b, c, d] = bytes.map(|byte| u64::from(byte.wrapping_sub(b'0')));
    // Without zeros in front.
    let (value, places, right) = if b == POINT {
        (a, 1, a <= 9)
    } else if c == POINT {
        (10 * a + b, 2, (1..=9).contains(&a) && b <= 9)
    } else {
        let right = (1..=9).contains(&a) && b <= 9 && c <= 9 && d == POINT;
        (100 * a + 10 * b + c, 3, right)
    };
    right.then_some((value, places))
}

/// The number that bytes begin with, and its length, where it is whole and of one to seven digits.
#[inline(never)]
#[expect(clippy::cast_precision_loss, reason = "seven digits are within a float's 24 bits")]
pub fn whole(bytes: &[u8; WINDOW]) -> Option<(f32, usize)> {
    let negative = bytes[0] == b'-';
    let start = usize::from(negative);
    let word = u64::from_le_bytes(*bytes[start..].first_chunk()?);
    let count = leading_digits(word);
    let length = start + count;
    let zeros = count > 1 && bytes[start] == b'0';
    if matches!(count, 0 | 8) || zeros || matches!(bytes[length], b'.' | b'e' | b'E') {
        return None;
    }
    let single = value(word, count) as f32;
    Some((if negative { -single } else { single }, length))
}

/// The 32-bit float that is nearest to a number whose double is `wide`, off by three units of its last place at most: one
/// rounding each of the mantissa, of the power of ten and of their product. `None` where that leaves two to choose from.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "rounds, and that is what is wanted")]
fn rounded(wide: f64, negative: bool) -> Option<f32> {
    // A second rounding, to 29 bits fewer, goes wrong only if it is that near to the middle between two floats.
    const DROPPED: u64 = (1 << 29) - 1;
    const MIDDLE: u64 = 1 << 28;
    // Signs come as they like: no branch foretells them.
    let single = f32::from_bits((wide as f32).to_bits() | u32::from(negative) << 31);
    ((wide.to_bits() & DROPPED).abs_diff(MIDDLE) > 3).then_some(single)
}

/// Powers of ten up to that of eight digits.
const TENS: [u64; 9] = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// How many of eight bytes are digits before the first that is none.
#[inline]
fn leading_digits(word: u64) -> usize {
    // A digit is 0x30 to 0x39: its upper half is 3, and still is when 6 is added. What other bytes carry over goes to
    // bytes behind them.
    let upper = word & 0xf0f0_f0f0_f0f0_f0f0;
    let sixes = word.wrapping_add(0x0606_0606_0606_0606) & 0xf0f0_f0f0_f0f0_f0f0;
    let others = (upper ^ 0x3030_3030_3030_3030) | (sixes ^ upper);
    others.trailing_zeros() as usize / 8
}

/// The value of the first `count` of eight bytes, which are digits, all at once: neighbours are joined to pairs, pairs to
/// fours, fours to eight.
#[inline]
fn value(word: u64, count: usize) -> u64 {
    // Those that count come last; before them, zeros. In two steps, since a word cannot be shifted by its whole width.
    let half = 32 - 4 * count;
    let ones = (word & 0x0f0f_0f0f_0f0f_0f0f) << half << half;
    let pairs = (ones.wrapping_mul(10).wrapping_add(ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100).wrapping_add(pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (fours.wrapping_mul(10_000).wrapping_add(fours >> 32)) & 0xffff_ffff
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Both widths, against the standard library's parser.
    fn check(text: &str) -> Result<(), TestCaseError> {
        let number = Number::read(text.as_bytes()).unwrap();
        prop_assert_eq!(number.text(), text.as_bytes());
        let single: f32 = text.parse().unwrap();
        prop_assert_eq!(number.single().to_bits(), single.to_bits(), "{}", text);
        let double: f64 = text.parse().unwrap();
        prop_assert_eq!(number.double().to_bits(), double.to_bits(), "{}", text);
        let mut window = [b','; WINDOW];
        if let Some(start) = window.get_mut(..text.len()) {
            start.copy_from_slice(text.as_bytes());
            check_window(&window)?;
        }
        Ok(())
    }

    /// What is read quickly, against what is read carefully.
    fn check_window(window: &[u8; WINDOW]) -> Result<(), TestCaseError> {
        for (single, length) in [usual(window), whole(window)].into_iter().flatten() {
            let number = Number::read(window).map_err(|at| TestCaseError::fail(at.to_string()))?;
            prop_assert_eq!(number.text(), &window[..length]);
            prop_assert_eq!(number.single().to_bits(), single.to_bits());
        }
        Ok(())
    }

    #[test]
    fn most_numbers_are_read_quickly() {
        for (text, is_usual, is_whole) in [
            ("0.5,", true, false),
            ("-12.25]", true, false),
            ("999.999 ", true, false),
            ("0.047037124633789062,", true, false),
            ("0.5e3,", false, false),
            ("01.5,", false, false),
            ("1.,", false, false),
            (".5,", false, false),
            ("1234.5,", false, false),
            ("1.12345678901234567890,", false, false),
            ("0,", false, true),
            ("-1234567,", false, true),
            ("12345678,", false, false),
            ("007,", false, false),
            ("1e5,", false, false),
            ("-,", false, false),
        ] {
            let mut window = [b','; WINDOW];
            window[..text.len()].copy_from_slice(text.as_bytes());
            let read = (usual(&window).is_some(), whole(&window).is_some());
            assert_eq!(read, (is_usual, is_whole), "{text}");
            check_window(&window).unwrap();
        }
    }

    #[test]
    fn hard_numbers_are_rounded_right() {
        for text in [
            "0",
            "-0",
            "-0.0",
            "0e5",
            "1e0",
            "5e-324",
            "1e-45",
            "7e-46",
            "1.1754942e-38",
            "3.4028235e38",
            "3.4028236e38",
            "3.5e38",
            "1e39",
            "1e400",
            "1e-400",
            "1e99999999999",
            "1e-99999999999",
            // Between two floats: a tie, and a hair above and below it.
            "16777217",
            "16777217.0000001",
            "16777216.9999999",
            "16777219",
            "33554434",
            "9007199254740993",
            "1.00000005960464477539062500000",
            "1.00000005960464477539062500001",
            "1.00000005960464477539062499999",
            "1.000000059604644775",
            "1.000000059604644776",
            "0.000000000000000000000000012345678901234567",
            "12345678901234567890123456789",
            "18446744073709551615",
            "18446744073709551616",
            "99999999999999999999",
            "0.10000000149011612",
        ] {
            check(text).unwrap();
        }
    }

    #[test]
    fn what_is_no_number_is_refused_where_it_fails() {
        for (text, at) in
            [("", 0), ("-", 1), (".5", 0), ("1.", 2), ("1.e5", 2), ("1e", 2), ("1e+", 3), ("-x", 1)]
        {
            assert_eq!(Number::read(text.as_bytes()).unwrap_err(), at, "{text}");
        }
        assert_eq!(Number::read(b"012").unwrap().text(), b"0");
    }

    proptest! {
        #[test]
        fn floats_read_back(bits in any::<u32>(), wide in any::<u64>()) {
            let (single, double) = (f32::from_bits(bits), f64::from_bits(wide));
            for text in [format!("{single}"), format!("{single:e}"), format!("{}", f64::from(single)), format!("{double:e}")] {
                if single.is_finite() && double.is_finite() {
                    check(&text)?;
                }
            }
        }

        #[test]
        fn middles_between_floats_are_rounded_right(bits in 0x0080_0000_u32..0x7f00_0000, nudge in -3_i64..=3) {
            let (low, high) = (f32::from_bits(bits), f32::from_bits(bits + 1));
            let middle = f64::midpoint(f64::from(low), f64::from(high));
            let near = f64::from_bits(middle.to_bits().wrapping_add_signed(nudge));
            for text in [format!("{near:e}"), format!("{near}"), format!("{near:.18e}"), format!("{near:.16}")] {
                check(&text)?;
            }
        }

        #[test]
        fn what_is_read_quickly_is_read_right(window in prop::array::uniform32(
            prop_oneof![8 => b'0'..=b'9', 2 => Just(b'.'), 1 => prop::sample::select(b"-+eE, \x00\xff:/".to_vec())],
        )) {
            check_window(&window)?;
        }

        #[test]
        fn digits_of_any_length(
            whole in "0|[1-9][0-9]{0,24}", fraction in "(\\.[0-9]{1,30})?", power in "([eE][+-]?[0-9]{1,3})?", minus in "-?",
        ) {
            check(&format!("{minus}{whole}{fraction}{power}"))?;
        }
    }
}
