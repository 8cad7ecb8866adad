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
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "half of the time is lost when this goes through memory"
    )]
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
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "rounds, and that is what is wanted")]
    pub fn single(&self) -> f32 {
        // `wide` is off by at most three units of its last place: one rounding each of the mantissa, of the
        // power and of the product. A second rounding, to 29 bits fewer, goes wrong only if it is that near to the middle
        // between two floats.
        const DROPPED: u64 = (1 << 29) - 1;
        const MIDDLE: u64 = 1 << 28;
        if let Some(wide) = self.nearly()
            && (wide.to_bits() & DROPPED).abs_diff(MIDDLE) > 3
            && (SINGLES.contains(&wide) || wide == 0.0)
        {
            return if self.negative { -(wide as f32) } else { wide as f32 };
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
    #[inline]
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

    #[cold]
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
    #[inline]
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

/// The value of eight digits, all at once: neighbours are joined to pairs, pairs to fours, fours to
/// eight. `None` when one of them is no digit.
#[inline]
fn eight(bytes: &[u8]) -> Option<u64> {
    let word = u64::from_le_bytes(bytes.try_into().ok()?);
    // A digit is 0x30 to 0x39: its upper half is 3, and still is when 6 is added.
    let upper = word & 0xf0f0_f0f0_f0f0_f0f0;
    let sixes = word.wrapping_add(0x0606_0606_0606_0606) & 0xf0f0_f0f0_f0f0_f0f0;
    if upper != 0x3030_3030_3030_3030 || sixes != upper {
        return None;
    }
    let ones = word & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (ones.wrapping_mul(10).wrapping_add(ones >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100).wrapping_add(pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours.wrapping_mul(10_000).wrapping_add(fours >> 32)) & 0xffff_ffff)
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
        Ok(())
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
        fn digits_of_any_length(
            whole in "0|[1-9][0-9]{0,24}", fraction in "(\\.[0-9]{1,30})?", power in "([eE][+-]?[0-9]{1,3})?", minus in "-?",
        ) {
            check(&format!("{minus}{whole}{fraction}{power}"))?;
        }
    }
}
