//! Texts to tokens, embeddings to outcomes.

use crate::arch::transformer::bert::tokens::{Refusal, Tokens};
use crate::domain::{Item, Kind, Outcome, Params, Payload, Problem};
use crate::engine::{Codec, TokenId};

/// A text with more bytes for each token that the network reads has too many tokens, or hardly any sense:
/// the tokenizer is not asked.
const BYTES_A_TOKEN: usize = 64;

/// Reads texts for an encoder.
pub struct TextCodec {
    pub tokens: Tokens,
    /// Bytes of a text.
    pub bytes_max: usize,
    /// Tokens of a text, for what a caller is told.
    pub tokens_max: usize,
}

impl TextCodec {
    fn sample(&self, item: Item, truncate: bool, pointer: &str) -> Result<Vec<TokenId>, Problem> {
        match item {
            Item::Text(text) => self.tokens(&text, truncate, pointer),
            Item::Tokens(ids) => {
                bounded(ids.len(), self.bytes_max, SPLIT, pointer)?;
                let tokens = self.tokens.of_ids(&ids, truncate);
                tokens.map_err(|refusal| refused(refusal, self.tokens_max, pointer))
            }
            Item::Opaque(bytes) => {
                // Before anything reads it.
                bounded(bytes.len(), self.bytes_max, SPLIT, pointer)?;
                let text = std::str::from_utf8(&bytes).map_err(|error| {
                    Problem::fault(
                        Kind::Undecodable,
                        pointer,
                        "text in UTF-8",
                        format!("a byte that is not UTF-8 at offset {}", error.valid_up_to()),
                        "encode the text as UTF-8",
                    )
                })?;
                self.tokens(text, truncate, pointer)
            }
            item => Err(Problem::fault(
                Kind::UnsupportedMedia,
                pointer,
                "text",
                item.kind(),
                "send the text as text/plain or as a JSON string",
            )),
        }
    }

    fn tokens(&self, text: &str, truncate: bool, pointer: &str) -> Result<Vec<TokenId>, Problem> {
        bounded(text.len(), self.bytes_max, SPLIT, pointer)?;
        let most = self.tokens_max;
        let reach = most * BYTES_A_TOKEN;
        let text = if truncate {
            &text[..text.floor_char_boundary(reach)]
        } else {
            bounded(text.len(), reach, SHORTEN, pointer)?;
            text
        };
        self.tokens.encode(text, truncate).map_err(|refusal| refused(refusal, most, pointer))
    }
}

fn refused(refusal: Refusal, most: usize, pointer: &str) -> Problem {
    match refusal {
        Refusal::Empty => Problem::fault(
            Kind::InvalidInput,
            pointer,
            "a text of at least one token",
            "none",
            "send at least one word",
        ),
        Refusal::TooLong(count) => Problem::fault(
            Kind::TooLarge,
            pointer,
            format!("at most {most} tokens, those that frame a text included"),
            format!("{count} tokens"),
            SHORTEN,
        ),
        Refusal::Unknown { at, vocabulary } => Problem::fault(
            Kind::InvalidInput,
            pointer,
            format!("token ids from 0 to {}", vocabulary.saturating_sub(1)),
            format!("another at index {at}"),
            "use the ids of the model's tokenizer",
        ),
        Refusal::Unreadable => Problem::fault(
            Kind::InvalidInput,
            pointer,
            "a text that the model's tokenizer can read",
            "another",
            "leave out what is no text",
        ),
    }
}

/// How a text that is too long is mended.
const SHORTEN: &str = "split the text, or set truncate to true: only its beginning is read then";

/// How one is that the server does not take at all.
const SPLIT: &str = "split the text";

fn bounded(bytes: usize, most: usize, hint: &str, pointer: &str) -> Result<(), Problem> {
    if bytes <= most {
        return Ok(());
    }
    let (expected, got) = (format!("at most {most} bytes"), format!("{bytes} bytes"));
    Err(Problem::fault(Kind::TooLarge, pointer, expected, got, hint))
}

impl Codec for TextCodec {
    type Sample = Vec<TokenId>;
    type Output = Vec<f32>;
    /// Tokens of each text.
    type Ask = Vec<usize>;

    fn decode(
        &self,
        payload: Payload,
        params: &Params,
    ) -> Result<(Vec<Vec<TokenId>>, Vec<usize>), Problem> {
        let mut reader = params.reader();
        let truncate = reader.flag("truncate").unwrap_or(false);
        reader.finish()?;
        let samples = payload
            .into_pairs()
            .map(|(item, pointer)| self.sample(item, truncate, &pointer))
            .collect::<Result<Vec<_>, _>>()?;
        let counts = samples.iter().map(Vec::len).collect();
        Ok((samples, counts))
    }

    fn encode(&self, outputs: Vec<Vec<f32>>, counts: &Vec<usize>) -> Result<Vec<Outcome>, Problem> {
        let outcome = |(embedding, &tokens): (Vec<f32>, &usize)| {
            if embedding.iter().all(|value| value.is_finite()) {
                return Ok(Outcome::Embedding { embedding, tokens });
            }
            let detail = "the network gave values that are not finite for this input";
            Err(Problem::new(Kind::Internal, detail))
        };
        outputs.into_iter().zip(counts).map(outcome).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::transformer::bert::tokens::TINY;
    use crate::domain::ParamValue;

    fn codec() -> TextCodec {
        let tokens = Tokens::read(TINY.as_bytes(), 10, 6).unwrap();
        TextCodec { tokens, bytes_max: 1000, tokens_max: 6 }
    }

    fn decode(items: Vec<Item>, truncate: Option<bool>) -> Result<Vec<Vec<TokenId>>, Problem> {
        let pointers = (0..items.len()).map(|i| format!("/inputs/{i}")).collect();
        let mut params = Params::default();
        if let Some(flag) = truncate {
            params.insert("truncate", ParamValue::Bool(flag), "/parameters/truncate".into());
        }
        codec().decode(Payload { items, pointers }, &params).map(|(samples, _)| samples)
    }

    fn text(text: &str) -> Item {
        Item::Text(text.to_owned())
    }

    #[test]
    fn a_list_of_texts_is_as_many_samples() {
        let plain = Item::Opaque(b"a man"[..].into());
        let samples = decode(vec![text("food"), plain], None).unwrap();
        assert_eq!(samples, [vec![1, 8, 2], vec![1, 4, 5, 2]]);
        assert_eq!(decode(vec![Item::Tokens(vec![4, 5])], None).unwrap(), [[1, 4, 5, 2]]);
        let problem = decode(vec![Item::Tokens(vec![4, 10])], None).unwrap_err();
        assert_eq!(
            (problem.kind, &*problem.faults[0].got),
            (Kind::InvalidInput, "another at index 1")
        );
    }

    #[test]
    fn too_long_a_text_is_refused_unless_it_may_be_cut() {
        let long = || vec![text("a"), text("a man is eating food")];
        for said in [None, Some(false)] {
            let problem = decode(long(), said).unwrap_err();
            let fault = &problem.faults[0];
            assert_eq!((problem.kind, fault.pointer.as_str()), (Kind::TooLarge, "/inputs/1"));
            assert!(fault.expected.contains("at most 6 tokens"), "{fault:?}");
            assert_eq!(fault.got, "7 tokens");
            assert!(fault.hint.contains("truncate"), "{fault:?}");
        }
        assert_eq!(decode(long(), Some(true)).unwrap()[1], [1, 4, 5, 6, 7, 2]);
    }

    #[test]
    fn a_text_is_not_tokenised_beyond_what_its_tokens_can_take() {
        // One token, and a character of two bytes where it is cut.
        let wide = || vec![text(&format!("{}é{}", "a".repeat(383), "a".repeat(400)))];
        let problem = decode(wide(), None).unwrap_err();
        assert_eq!(problem.faults[0].expected, "at most 384 bytes");
        assert_eq!(decode(wide(), Some(true)).unwrap(), [[1, 3, 2]]);
        let problem = decode(vec![text(&"a".repeat(1001))], Some(true)).unwrap_err();
        assert_eq!(problem.faults[0].expected, "at most 1000 bytes");
    }

    #[test]
    fn what_is_no_text_is_refused_by_kind() {
        let kind = |item| decode(vec![item], None).unwrap_err().kind;
        assert_eq!(kind(text("")), Kind::InvalidInput);
        assert_eq!(kind(text("  ")), Kind::InvalidInput);
        assert_eq!(kind(Item::Opaque(vec![b'a'; 1001].into())), Kind::TooLarge);
        assert_eq!(kind(Item::Opaque(b"\xff"[..].into())), Kind::Undecodable);
        assert_eq!(kind(Item::Image(b"\x89PNG"[..].into())), Kind::UnsupportedMedia);
        let mut params = Params::default();
        params.insert("top_k", ParamValue::Number(1.0), "/query/top_k".into());
        let payload = Payload::single(text("a"), "/body");
        assert_eq!(codec().decode(payload, &params).unwrap_err().faults[0].pointer, "/query/top_k");
    }

    #[test]
    fn an_embedding_says_its_tokens_and_is_finite() {
        let outcomes = codec().encode(vec![vec![0.6, 0.8]], &vec![3]).unwrap();
        assert_eq!(outcomes, [Outcome::Embedding { embedding: vec![0.6, 0.8], tokens: 3 }]);
        let problem = codec().encode(vec![vec![f32::NAN]], &vec![3]).unwrap_err();
        assert_eq!(problem.kind, Kind::Internal);
    }
}
