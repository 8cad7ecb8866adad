//! Texts that go on, by a network that knows the alphabet.

use futures_util::StreamExt;

use super::{manner, request, whole};
use crate::domain::{Finish, Item, Kind, Outcome, ParamValue, Payload, Piece, Problem};
use crate::engine::{
    Engine, Generator, Language, Limits, Reply, Request, Row, RunError, Stepwise, TokenId,
};

/// Prefers the letter after the last one; how much depends on how many it has read.
pub struct Alphabet;

impl Stepwise for Alphabet {
    type State = (u32, u32);

    fn step(
        &self,
        rows: &mut [Row<'_, (u32, u32)>],
        logits: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        logits.clear();
        for row in rows {
            for &token in row.tokens {
                *row.state = (token, row.state.1 + 1);
            }
            let (last, read) = *row.state;
            let mut own = [0.0; 26];
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let weight = 1.0 + (read % 3) as f32;
            own[((last + 1) % 26) as usize] = weight;
            logits.extend(own.iter().filter(|_| row.want_logits));
        }
        Ok(())
    }
}

impl Generator for Alphabet {
    fn begin(&self) -> (u32, u32) {
        (0, 0)
    }
}

pub struct Letters;

impl Language for Letters {
    fn prompts(&self, payload: Payload) -> Result<Vec<Vec<TokenId>>, Problem> {
        let letters = |item| match item {
            Item::Text(text) => text.bytes().map(|b| u32::from(b - b'a')).collect(),
            _ => Vec::new(),
        };
        Ok(payload.items.into_iter().map(letters).collect())
    }

    fn text(&self, tokens: &[TokenId]) -> String {
        tokens.iter().filter_map(|&t| char::from_u32(t + u32::from(b'a'))).collect()
    }

    fn size(&self) -> usize {
        26
    }

    fn end(&self) -> Option<TokenId> {
        None
    }
}

pub fn ask(texts: &[&str], pairs: &[(&str, ParamValue)]) -> Request {
    let mut request = request(texts);
    for (name, value) in pairs {
        request.params.insert(name, value.clone(), format!("/parameters/{name}"));
    }
    request
}

pub fn text(outcome: &Outcome) -> (&str, Finish) {
    match outcome {
        Outcome::Generated { text, finish_reason, .. } => (text, *finish_reason),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_generation_ends_at_its_length_or_at_a_stop_text() {
    let engine = Engine::start(1).unwrap();
    let endpoint = engine.stepwise(manner("alphabet", Limits::default()), Alphabet, Letters);
    let greedy = ("temperature", ParamValue::Number(0.0));
    let five = ("max_tokens", ParamValue::Number(5.0));
    let answer =
        whole(&*endpoint, ask(&["abc", "x"], &[greedy.clone(), five.clone()])).await.unwrap();
    assert_eq!(text(&answer.outcomes[0]), ("defgh", Finish::Length));
    assert_eq!(text(&answer.outcomes[1]), ("yzabc", Finish::Length));
    let stop = ("stop", ParamValue::Text("fg".into()));
    let answer = whole(&*endpoint, ask(&["abc"], &[greedy, five, stop])).await.unwrap();
    assert_eq!(text(&answer.outcomes[0]), ("de", Finish::Stop));
}

#[tokio::test]
async fn one_seed_gives_one_text_alone_or_among_others() {
    let engine = Engine::start(2).unwrap();
    let endpoint = engine.stepwise(manner("alphabet", Limits::default()), Alphabet, Letters);
    let pairs = [("seed", ParamValue::Number(5.0)), ("max_tokens", ParamValue::Number(40.0))];
    let alone = whole(&*endpoint, ask(&["q"], &pairs)).await.unwrap();
    let many = ["a", "bcd", "q", "zzzz", "q"];
    let among = whole(&*endpoint, ask(&many, &pairs)).await.unwrap();
    assert_eq!(alone.outcomes[0], among.outcomes[2]);
    assert_eq!(alone.outcomes[0], among.outcomes[4]);
    assert_ne!(text(&alone.outcomes[0]).0, text(&among.outcomes[0]).0);
}

#[tokio::test]
async fn a_stream_is_the_whole_answer_in_pieces() {
    let engine = Engine::start(1).unwrap();
    let endpoint = engine.stepwise(manner("alphabet", Limits::default()), Alphabet, Letters);
    let seed = ("seed", ParamValue::Number(3.0));
    let whole = whole(&*endpoint, ask(&["k"], std::slice::from_ref(&seed))).await.unwrap();
    let stream = ("stream", ParamValue::Bool(true));
    let Reply::Stream(stream) = endpoint.predict(ask(&["k"], &[seed, stream])).await.unwrap()
    else {
        panic!("expected a stream")
    };
    let pieces: Vec<Piece> = stream.map(Result::unwrap).collect().await;
    let (end, texts) = pieces.split_last().unwrap();
    let joined: String = texts
        .iter()
        .map(|piece| match piece {
            Piece::Text(fragment) => fragment.text.as_str(),
            Piece::End(_) => panic!("an end in the middle"),
        })
        .collect();
    assert_eq!(joined, text(&whole.outcomes[0]).0);
    assert!(matches!(end, Piece::End(answer) if answer.outcomes == whole.outcomes));
}

#[tokio::test]
async fn a_parameter_that_is_not_honoured_is_refused() {
    let engine = Engine::start(1).unwrap();
    let endpoint = engine.stepwise(manner("alphabet", Limits::default()), Alphabet, Letters);
    let odd = ("best_of", ParamValue::Number(2.0));
    let problem = whole(&*endpoint, ask(&["a"], &[odd])).await.unwrap_err();
    assert_eq!(problem.kind, Kind::InvalidInput);
    assert!(problem.faults[0].expected.contains("temperature"));
}
