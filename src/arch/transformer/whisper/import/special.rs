//! The special tokens, by the texts that every Whisper's tokenizer gives them.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::arch::ImportError;
use crate::arch::transformer::whisper::config::{Multilingual, Tokens};
use crate::arch::transformer::whisper::import::{Described, refuse};
use crate::arch::transformer::whisper::vocabulary::TOKENIZER_FILE;
use crate::engine::TokenId;

/// The vocabulary from which on a Whisper knows several languages: English alone has one token less.
const MULTILINGUAL_VOCABULARY: usize = 51_865;

/// The part of a tokenizer.json that lists the special tokens.
#[derive(Deserialize)]
struct Tokenizer {
    added_tokens: Vec<Added>,
}

#[derive(Deserialize)]
struct Added {
    id: TokenId,
    content: String,
}

/// # Errors
/// [`ImportError::File`] with the token that the tokenizer lacks.
pub fn tokens(described: &Described, tokenizer: &[u8]) -> Result<Tokens, ImportError> {
    let tokenizer: Tokenizer = serde_json::from_slice(tokenizer)
        .map_err(|error| refuse(TOKENIZER_FILE, "a list of added tokens", error.to_string()))?;
    let added: BTreeMap<&str, TokenId> =
        tokenizer.added_tokens.iter().map(|token| (token.content.as_str(), token.id)).collect();
    // Older tokenizers call the one of no speech by another name.
    let id = |names: &[&str]| {
        let found = names.iter().find_map(|&name| added.get(name).copied());
        found.ok_or_else(|| refuse(TOKENIZER_FILE, names.join(" or "), "no such token"))
    };
    let multilingual = if described.config.vocabulary >= MULTILINGUAL_VOCABULARY {
        let [transcribe, translate] = [id(&["<|transcribe|>"])?, id(&["<|translate|>"])?];
        Some(Multilingual { transcribe, translate, languages: languages(&added) })
    } else {
        None
    };
    Ok(Tokens {
        start: id(&["<|startoftranscript|>"])?,
        end: id(&["<|endoftext|>"])?,
        no_speech: id(&["<|nospeech|>", "<|nocaptions|>"])?,
        no_timestamps: id(&["<|notimestamps|>"])?,
        suppress: suppressed(described, &added),
        suppress_first: described.suppress_first.clone(),
        multilingual,
    })
}

/// Only ever read in a prompt.
const UNSAID: &[&str] = &[
    "<|startoftranscript|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|nocaptions|>",
    "<|transcribe|>",
    "<|translate|>",
];

/// What the source says, and what is never said whether it says so or not.
fn suppressed(described: &Described, added: &BTreeMap<&str, TokenId>) -> Vec<TokenId> {
    let unsaid = UNSAID.iter().filter_map(|&name| added.get(name));
    let all: BTreeSet<TokenId> = described.suppress.iter().chain(unsaid).copied().collect();
    all.into_iter().collect()
}

/// The tokens of two or three letters: `<|en|>`, `<|haw|>`.
fn languages(added: &BTreeMap<&str, TokenId>) -> BTreeMap<String, TokenId> {
    let code = |name: &str| {
        let code = name.strip_prefix("<|")?.strip_suffix("|>")?;
        let plain = code.bytes().all(|byte| byte.is_ascii_lowercase());
        (plain && (2..=3).contains(&code.len())).then(|| code.to_owned())
    };
    added.iter().filter_map(|(&name, &id)| Some((code(name)?, id))).collect()
}
