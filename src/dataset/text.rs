//! A text to learn from: one file in UTF-8, its tail held out.

use std::fs;
use std::path::Path;

use crate::domain::Digest;
use crate::package::sha256;

/// A text in its two parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// What is learned from.
    pub train: String,
    /// The tail, for measuring.
    pub held_out: String,
    /// SHA-256 of the file's bytes.
    pub digest: Digest,
}

/// Reads `path` and holds the last `fraction` of its bytes out, from the next whole character on.
///
/// # Errors
/// A text that says why the file is of no use.
pub fn read(path: &Path, fraction: f64) -> Result<Text, String> {
    if !(0.0..1.0).contains(&fraction) {
        return Err(format!("held_out is {fraction}: expected 0 or more and below 1"));
    }
    let bytes = fs::read(path).map_err(|error| {
        format!("{}: {error}; name the text with --data, or make it first", path.display())
    })?;
    let digest = sha256(&bytes);
    let mut train = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("{}: the byte at offset {at} is not UTF-8", path.display())
    })?;
    let held_out = train.split_off(boundary(&train, fraction));
    Ok(Text { train, held_out, digest })
}

/// The first place between two characters with at most `fraction` of the bytes after it.
fn boundary(text: &str, fraction: f64) -> usize {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a text's length, between 0 and the length"
    )]
    let place = (text.len() as f64 * (1.0 - fraction)).ceil() as usize;
    (place..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8], fraction: f64) -> Result<Text, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("text.txt");
        fs::write(&path, bytes).unwrap();
        read(&path, fraction)
    }

    #[test]
    fn the_tail_is_held_out_at_a_character() {
        let text = of("abcdefgé".as_bytes(), 0.3).unwrap();
        assert_eq!((text.train.as_str(), text.held_out.as_str()), ("abcdefg", "é"));
        let text = of("abcdefgé".as_bytes(), 0.12).unwrap();
        assert_eq!((text.train.as_str(), text.held_out.as_str()), ("abcdefgé", ""));
        assert_eq!(text.digest, sha256("abcdefgé".as_bytes()));
    }

    #[test]
    fn what_is_no_text_is_refused() {
        assert!(of(b"ab\xff", 0.1).unwrap_err().contains("offset 2"));
        assert!(of(b"ab", 1.0).unwrap_err().contains("held_out"));
        assert!(of(b"ab", f64::NAN).is_err());
        assert!(read(Path::new("/no/such/text"), 0.1).unwrap_err().contains("--data"));
    }
}
