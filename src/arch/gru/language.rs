//! Payload to prompts.

use crate::arch::OpenError;
use crate::arch::gru::config::Preprocessing;
use crate::arch::gru::vocabulary::{Unknown, Vocabulary};
use crate::domain::{Item, Kind, MediaLimits, Payload, Problem, Tensor};
use crate::engine::{Language, TokenId};

/// A vocabulary with the bounds on what a request may bring.
pub struct TextLanguage {
    vocabulary: Vocabulary,
    /// Ids that the network has a row for.
    rows: usize,
    end: Option<TokenId>,
    /// Bytes of a text, and tokens of a list of tokens.
    prompt_max: usize,
}

impl TextLanguage {
    /// `rows` is the number of rows of the network's embedding.
    ///
    /// # Errors
    /// [`OpenError::Config`] when the vocabulary lacks the end token.
    pub fn new(
        vocabulary: Vocabulary,
        rows: usize,
        preprocessing: &Preprocessing,
        media: &MediaLimits,
    ) -> Result<Self, OpenError> {
        let end = preprocessing.end.as_ref().map(|token| {
            vocabulary.id(token).ok_or_else(|| OpenError::Config {
                section: "preprocessing",
                reason: format!("end is {token:?}: the vocabulary has no such token"),
            })
        });
        let end = end.transpose()?;
        Ok(Self { vocabulary, rows, end, prompt_max: media.text_bytes_max })
    }

    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    fn prompt(&self, item: Item, pointer: &str) -> Result<Vec<TokenId>, Problem> {
        let tokens = match item {
            Item::Text(text) => self.encode(&text, pointer)?,
            Item::Opaque(bytes) => {
                self.bounded(bytes.len(), "bytes", pointer)?;
                let text = std::str::from_utf8(&bytes).map_err(|e| not_utf8(pointer, e))?;
                self.encode(text, pointer)?
            }
            Item::Tensor(tensor) => self.ids(&tensor, pointer)?,
            Item::Tokens(ids) => self.known(ids, pointer)?,
            item @ (Item::Image(_) | Item::Audio(_)) => {
                return Err(Problem::fault(
                    Kind::UnsupportedMedia,
                    pointer,
                    "text, or a list of token ids",
                    item.kind(),
                    "send the text to continue, as text/plain or as a JSON string",
                ));
            }
        };
        if tokens.is_empty() {
            return Err(Problem::fault(
                Kind::InvalidInput,
                pointer,
                "a text of at least one token",
                "none",
                "send at least one character for the model to continue",
            ));
        }
        Ok(tokens)
    }

    fn encode(&self, text: &str, pointer: &str) -> Result<Vec<TokenId>, Problem> {
        self.bounded(text.len(), "bytes", pointer)?;
        self.vocabulary.encode(text).map_err(|unknown| {
            let got = match unknown {
                Unknown::Character(c, at) => {
                    format!("{c:?} (U+{:04X}) as character {}", u32::from(c), at + 1)
                }
                Unknown::Somewhere => "a text that the model's tokenizer cannot read".to_owned(),
            };
            Problem::fault(
                Kind::InvalidInput,
                pointer,
                "a text of what the model was trained on",
                got,
                "leave it out, or write it with characters that the model knows",
            )
        })
    }

    /// Ids that the network has a row for.
    fn known(&self, ids: Vec<TokenId>, pointer: &str) -> Result<Vec<TokenId>, Problem> {
        self.bounded(ids.len(), "tokens", pointer)?;
        match ids.iter().enumerate().find(|&(_, &id)| id as usize >= self.rows) {
            Some((at, id)) => Err(self.no_ids(pointer, format!("{id} at index {at}"), USE_IDS)),
            None => Ok(ids),
        }
    }

    fn no_ids(&self, pointer: &str, got: String, hint: &str) -> Problem {
        let last = self.rows.saturating_sub(1);
        let expected = format!("a list of token ids: integers from 0 to {last}");
        Problem::fault(Kind::InvalidInput, pointer, expected, got, hint)
    }

    fn ids(&self, tensor: &Tensor, pointer: &str) -> Result<Vec<TokenId>, Problem> {
        let refuse = |got: String, hint: &str| self.no_ids(pointer, got, hint);
        if tensor.shape().len() != 1 {
            let got = format!("a tensor of shape {:?}", tensor.shape());
            return Err(refuse(got, "send one dimension; several prompts are several items"));
        }
        self.bounded(tensor.data().len(), "tokens", pointer)?;
        let id = |(at, &value): (usize, &f32)| {
            self.id(value).ok_or_else(|| refuse(format!("{value} at index {at}"), USE_IDS))
        };
        tensor.data().iter().enumerate().map(id).collect()
    }

    fn id(&self, value: f32) -> Option<TokenId> {
        let whole = value.fract() == 0.0 && (0.0..16_777_216.0).contains(&value);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number from 0 to 2^24, checked above"
        )]
        let id = whole.then_some(value as TokenId)?;
        Some(id).filter(|&id| (id as usize) < self.rows)
    }

    fn bounded(&self, got: usize, unit: &str, pointer: &str) -> Result<(), Problem> {
        if got <= self.prompt_max {
            return Ok(());
        }
        Err(Problem::fault(
            Kind::TooLarge,
            pointer,
            format!("at most {} {unit}", self.prompt_max),
            format!("{got} {unit}"),
            "send the last part of the text: the model remembers no more of it anyway",
        ))
    }
}

const USE_IDS: &str = "use the ids of the model's vocabulary";

fn not_utf8(pointer: &str, error: std::str::Utf8Error) -> Problem {
    Problem::fault(
        Kind::Undecodable,
        pointer,
        "text in UTF-8",
        format!("a byte that is not UTF-8 at offset {}", error.valid_up_to()),
        "encode the text as UTF-8",
    )
}

impl Language for TextLanguage {
    fn prompts(&self, payload: Payload) -> Result<Vec<Vec<TokenId>>, Problem> {
        payload.into_pairs().map(|(item, pointer)| self.prompt(item, &pointer)).collect()
    }

    fn text(&self, tokens: &[TokenId]) -> String {
        self.vocabulary.decode(tokens)
    }

    fn character(&self, token: TokenId) -> Option<char> {
        self.vocabulary.character(token)
    }

    fn size(&self) -> usize {
        self.rows
    }

    fn end(&self) -> Option<TokenId> {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::gru::config::Tokens;

    fn language() -> TextLanguage {
        let vocabulary = Vocabulary::read(Tokens::Characters, br#"["\n"," ","a","b"]"#).unwrap();
        let preprocessing =
            Preprocessing { tokens: Tokens::Characters, end: Some("\n".to_owned()) };
        let media = MediaLimits { text_bytes_max: 8, ..MediaLimits::default() };
        TextLanguage::new(vocabulary, 6, &preprocessing, &media).unwrap()
    }

    fn prompt(item: Item) -> Result<Vec<TokenId>, Problem> {
        language().prompts(Payload::single(item, "/inputs/0")).map(|mut p| p.remove(0))
    }

    fn tensor(shape: &[usize], data: &[f32]) -> Item {
        Item::Tensor(Tensor::new(shape.to_vec(), data.to_vec()).unwrap())
    }

    #[test]
    fn texts_bytes_and_ids_are_prompts() {
        assert_eq!(prompt(Item::Text("ab a".into())).unwrap(), [2, 3, 1, 2]);
        assert_eq!(prompt(Item::Opaque("b\n".into())).unwrap(), [3, 0]);
        assert_eq!(prompt(tensor(&[3], &[0.0, 3.0, 5.0])).unwrap(), [0, 3, 5]);
        assert_eq!(prompt(Item::Tokens(vec![5, 0])).unwrap(), [5, 0]);
        assert_eq!((language().end(), language().size()), (Some(0), 6));
        assert_eq!(language().text(&[2, 3, 5, 1]), "ab ");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (item, kind, word) in [
            (Item::Text("abéa".into()), Kind::InvalidInput, "'é' (U+00E9) as character 3"),
            (Item::Text(String::new()), Kind::InvalidInput, "at least one token"),
            (Item::Text("aaaaaaaaa".into()), Kind::TooLarge, "at most 8 bytes, got 9 bytes"),
            (Item::Opaque(vec![b'a'; 9].into()), Kind::TooLarge, "9 bytes"),
            (Item::Opaque(vec![b'a', 0xff].into()), Kind::Undecodable, "offset 1"),
            (Item::Image(vec![1].into()), Kind::UnsupportedMedia, "an image"),
            (Item::Audio(vec![1].into()), Kind::UnsupportedMedia, "audio"),
            (tensor(&[1, 2], &[0.0, 1.0]), Kind::InvalidInput, "shape [1, 2]"),
            (tensor(&[2], &[0.0, 6.0]), Kind::InvalidInput, "6 at index 1"),
            (tensor(&[2], &[0.5, 1.0]), Kind::InvalidInput, "0.5 at index 0"),
            (tensor(&[1], &[-1.0]), Kind::InvalidInput, "-1 at index 0"),
            (tensor(&[1], &[f32::NAN]), Kind::InvalidInput, "NaN at index 0"),
            (tensor(&[0], &[]), Kind::InvalidInput, "at least one token"),
            (tensor(&[9], &[0.0; 9]), Kind::TooLarge, "9 tokens"),
            (Item::Tokens(vec![0, 6]), Kind::InvalidInput, "6 at index 1"),
            (Item::Tokens(vec![0; 9]), Kind::TooLarge, "9 tokens"),
            (Item::Tokens(Vec::new()), Kind::InvalidInput, "at least one token"),
        ] {
            let problem = prompt(item).unwrap_err();
            assert_eq!(problem.kind, kind, "{problem}");
            assert!(problem.detail.contains(word), "{problem}");
            assert_eq!(problem.faults[0].pointer, "/inputs/0");
            assert!(!problem.faults[0].hint.is_empty());
        }
    }

    #[test]
    fn an_end_that_the_vocabulary_lacks_is_refused() {
        let vocabulary = Vocabulary::read(Tokens::Characters, br#"["a"]"#).unwrap();
        let preprocessing = Preprocessing { tokens: Tokens::Characters, end: Some("b".into()) };
        assert!(TextLanguage::new(vocabulary, 1, &preprocessing, &MediaLimits::default()).is_err());
    }
}
