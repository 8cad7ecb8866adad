//! How much a text repeats itself.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

/// How many times smaller zlib makes a text (Radford et al. 2022); 1 for no text.
#[expect(clippy::cast_precision_loss, reason = "texts are short")]
#[must_use]
pub fn ratio(text: &str) -> f32 {
    if text.is_empty() {
        return 1.0;
    }
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    // Writing to memory does not fail.
    let made = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    made.map_or(1.0, |packed| text.len() as f32 / packed.len().max(1) as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_repeat_themselves_shrink_and_others_do_not() {
        // zlib makes 21 bytes of it: what cannot be packed gets a little longer.
        assert!((ratio("one two three") - 13.0 / 21.0).abs() < 0.05);
        assert!(ratio(&"and the ".repeat(40)) > 8.0);
        assert!((ratio("") - 1.0).abs() < 1e-6);
    }
}
