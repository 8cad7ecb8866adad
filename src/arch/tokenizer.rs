//! Reading a Hugging Face tokenizer, as every architecture with words does.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokenizers::Tokenizer;

use crate::arch::OpenError;

/// Letters, digits, marks and what lies beyond ASCII: each step of a tokenizer has something to do.
const TRIAL: &str = "Hello, wörld! 42 日本 \n\u{1f600}";

/// The tokenizer in the bytes of a tokenizer.json. Its own settings, which may pad or cut every text to a
/// fixed length, are turned off. It has read and written one text: the tokenizers crate trusts that a file fits
/// together, and panics where it does not.
///
/// # Errors
/// [`OpenError::Config`] of `section` when the bytes are no tokenizer, or one that cannot be used.
pub fn read(section: &'static str, bytes: &[u8]) -> Result<Tokenizer, OpenError> {
    let refuse = |reason| OpenError::Config { section, reason };
    let tried = catch_unwind(AssertUnwindSafe(|| tried(bytes)));
    let broken = |_| refuse("its parts do not fit together: it cannot read a text".to_owned());
    tried.map_err(broken)?.map_err(|error| refuse(error.to_string()))
}

fn tried(bytes: &[u8]) -> tokenizers::Result<Tokenizer> {
    let mut tokenizer = Tokenizer::from_bytes(bytes)?;
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None)?;
    // A vocabulary may lack what the text is made of: only a panic says that the file is no good.
    if let Ok(encoding) = tokenizer.encode(TRIAL, true) {
        let _ = tokenizer.decode(encoding.get_ids(), true);
    }
    Ok(tokenizer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(model: &str, post_processor: &str) -> String {
        format!(
            r#"{{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
                "normalizer": null, "pre_tokenizer": null, "decoder": null,
                "post_processor": {post_processor}, "model": {model}}}"#
        )
    }

    const WORDS: &str = r#"{"type": "WordLevel", "vocab": {"a": 0, "?": 1}, "unk_token": "?"}"#;

    #[test]
    fn a_file_on_which_the_crate_panics_is_refused_as_any_other() {
        assert!(read("x", file(WORDS, "null").as_bytes()).is_ok());
        assert!(read("x", b"{}").is_err());
        // A merge whose second token is shorter than the prefix that it should begin with.
        let merge = r#"{"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"],
            "continuing_subword_prefix": "\u00e9\u00e9"}"#;
        // A frame with a token that is not said.
        let frame = r#"{"type": "TemplateProcessing", "pair": [], "special_tokens": {},
            "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}]}"#;
        for broken in [file(merge, "null"), file(WORDS, frame)] {
            let error = read("x", broken.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("do not fit together"), "{error}");
        }
    }
}
