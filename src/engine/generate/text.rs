//! From tokens to text that may be shown: whole characters only, and nothing that may yet turn out to
//! be the start of a stop text.

use crate::engine::{Language, TokenId};

/// The text of one sequence as it grows.
pub struct TextStream {
    stop: Vec<String>,
    tokens: Vec<TokenId>,
    /// Tokens before this one are settled text, and serve only as context for the next.
    context: usize,
    /// Tokens before this one have been turned into text.
    read: usize,
    /// Text that is not shown yet.
    held: String,
}

impl TextStream {
    /// With room for so many tokens to begin with.
    pub fn new(stop: Vec<String>, room: usize) -> Self {
        Self { stop, tokens: Vec::with_capacity(room), context: 0, read: 0, held: String::new() }
    }

    /// Tokens that were generated.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Bytes of text that are not shown yet.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes one token, and adds what may be shown now to `text`. `true` when a stop text was met; what follows it is
    /// gone.
    pub fn push(&mut self, token: TokenId, language: &dyn Language, text: &mut String) -> bool {
        self.tokens.push(token);
        self.decode(language, false);
        if let Some(at) = self.stop.iter().filter_map(|stop| self.held.find(stop)).min() {
            text.push_str(&self.held[..at]);
            self.held.clear();
            return true;
        }
        let keep = self.stop.iter().map(|stop| overlap(&self.held, stop)).max().unwrap_or(0);
        let shown = self.held.len() - keep;
        text.push_str(&self.held[..shown]);
        if keep == 0 {
            self.held.clear();
        } else {
            self.held.drain(..shown);
        }
        false
    }

    /// Adds the text that is still held when the sequence ends for another reason.
    pub fn finish(&mut self, language: &dyn Language, text: &mut String) {
        self.decode(language, true);
        text.push_str(&self.held);
        self.held.clear();
    }

    /// Decodes what is new: a character as it is, all else behind a little context, since a token's text can depend on
    /// the one before it.
    fn decode(&mut self, language: &dyn Language, last: bool) {
        if let [token] = self.tokens[self.read..]
            && let Some(character) = language.character(token)
        {
            self.held.push(character);
            (self.context, self.read) = (self.read, self.tokens.len());
            return;
        }
        let before = language.text(&self.tokens[self.context..self.read]);
        let now = language.text(&self.tokens[self.context..]);
        let whole = last || !now.ends_with(char::REPLACEMENT_CHARACTER);
        if whole {
            // A vocabulary may spell settled tokens otherwise once others follow; what is shown stays.
            let same = before.chars().zip(now.chars()).take_while(|(a, b)| a == b);
            let settled: usize = same.map(|(c, _)| c.len_utf8()).sum();
            self.held.push_str(&now[settled..]);
            self.context = self.read;
            self.read = self.tokens.len();
        }
    }
}

/// The length of the longest end of `text` that is a beginning of `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    stop.char_indices().map(|(at, _)| at).rev().find(|&n| text.ends_with(&stop[..n])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Payload, Problem};

    /// Each token is a byte.
    struct Bytes;

    impl Language for Bytes {
        fn prompts(&self, _: Payload) -> Result<Vec<Vec<TokenId>>, Problem> {
            Ok(Vec::new())
        }
        fn text(&self, tokens: &[TokenId]) -> String {
            let bytes: Vec<u8> = tokens.iter().map(|&t| u8::try_from(t).unwrap()).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        fn size(&self) -> usize {
            256
        }
        fn end(&self) -> Option<TokenId> {
            None
        }
    }

    fn shown(stop: &[&str], text: &str) -> (Vec<String>, bool) {
        let mut stream = TextStream::new(stop.iter().map(ToString::to_string).collect(), 0);
        let mut pieces = Vec::new();
        for byte in text.bytes() {
            let mut piece = String::new();
            let stopped = stream.push(byte.into(), &Bytes, &mut piece);
            pieces.push(piece);
            if stopped {
                return (pieces, true);
            }
        }
        let mut rest = String::new();
        stream.finish(&Bytes, &mut rest);
        pieces.push(rest);
        (pieces, false)
    }

    #[test]
    fn characters_are_never_split() {
        let (pieces, _) = shown(&[], "aé€");
        assert_eq!(pieces, ["a", "", "é", "", "", "€", ""]);
    }

    /// Spells a 9 after a 1 as another digit, and the 1 before it too.
    struct Fickle;

    impl Language for Fickle {
        fn prompts(&self, _: Payload) -> Result<Vec<Vec<TokenId>>, Problem> {
            Ok(Vec::new())
        }
        fn text(&self, tokens: &[TokenId]) -> String {
            let plain: String = tokens.iter().map(ToString::to_string).collect();
            plain.replace("19", "23")
        }
        fn size(&self) -> usize {
            256
        }
        fn end(&self) -> Option<TokenId> {
            None
        }
    }

    /// Ids are letters, and none of them is a token of its own where `whole` is not.
    struct Letters {
        whole: bool,
    }

    impl Language for Letters {
        fn prompts(&self, _: Payload) -> Result<Vec<Vec<TokenId>>, Problem> {
            Ok(Vec::new())
        }
        fn text(&self, tokens: &[TokenId]) -> String {
            tokens.iter().filter_map(|&token| char::from_u32(token)).collect()
        }
        fn character(&self, token: TokenId) -> Option<char> {
            // An id without a text is no character either.
            char::from_u32(token).filter(|_| self.whole)
        }
        fn size(&self) -> usize {
            256
        }
        fn end(&self) -> Option<TokenId> {
            None
        }
    }

    #[test]
    fn characters_alone_give_what_they_give_among_others() {
        let no_text = 0xD800;
        for stop in [&[][..], &["end."], &["é", "zz"]] {
            for text in ["the ene end. more", "aéb", "ezzz", "zez"] {
                let [fast, slow] = [true, false].map(|whole| {
                    let mut stream =
                        TextStream::new(stop.iter().map(ToString::to_string).collect(), 0);
                    let (mut shown, mut lengths) = (String::new(), Vec::new());
                    let tokens = text.chars().map(u32::from).chain([no_text, 97]);
                    let language = &Letters { whole };
                    let stopped = tokens.into_iter().any(|token| {
                        let stopped = stream.push(token, language, &mut shown);
                        lengths.push(shown.len());
                        stopped
                    });
                    if !stopped {
                        stream.finish(language, &mut shown);
                    }
                    (shown, lengths, stopped)
                });
                assert_eq!(fast, slow, "{text} {stop:?}");
            }
        }
    }

    #[test]
    fn a_replacement_character_of_the_vocabulary_is_shown_at_once() {
        let (mut stream, mut shown) = (TextStream::new(Vec::new(), 0), String::new());
        stream.push(0xFFFD, &Letters { whole: true }, &mut shown);
        assert_eq!(shown, "\u{FFFD}");
    }

    #[test]
    fn text_goes_on_when_settled_tokens_are_spelled_otherwise() {
        let mut stream = TextStream::new(Vec::new(), 0);
        let mut shown = String::new();
        for token in [1, 9, 4] {
            stream.push(token, &Fickle, &mut shown);
        }
        assert_eq!(shown, "1234");
    }

    #[test]
    fn a_stop_text_across_tokens_is_never_shown() {
        let (pieces, stopped) = shown(&["end."], "the ene end. more");
        assert!(stopped);
        assert_eq!(pieces.concat(), "the ene ");
    }

    #[test]
    fn a_beginning_of_a_stop_text_is_shown_when_it_comes_to_nothing() {
        assert_eq!(shown(&["abc"], "xab").0.concat(), "xab");
        assert_eq!(shown(&["aab"], "aaab").0.concat(), "a");
    }

    #[test]
    fn the_earliest_of_several_stop_texts_wins() {
        assert_eq!(
            shown(&["lo", "l"], "hello"),
            (vec!["h".into(), "e".into(), String::new()], true)
        );
    }
}
