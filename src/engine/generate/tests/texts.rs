//! Texts that end badly, and readers that take their time.

use futures_util::StreamExt;

use crate::domain::{Finish, Kind, ParamValue, Payload, Piece, Problem};
use crate::engine::tests::{Alphabet, Letters, ask, manner, text, whole};
use crate::engine::{Engine, Language, Limits, Reply, TokenId};

/// Cannot write an `e`.
struct NoE;

impl Language for NoE {
    fn prompts(&self, payload: Payload) -> Result<Vec<Vec<TokenId>>, Problem> {
        Letters.prompts(payload)
    }

    fn text(&self, tokens: &[TokenId]) -> String {
        assert!(!tokens.contains(&4), "an e");
        Letters.text(tokens)
    }

    fn size(&self) -> usize {
        Letters.size()
    }

    fn end(&self) -> Option<TokenId> {
        None
    }
}

#[tokio::test]
async fn a_vocabulary_that_panics_loses_its_sequences_and_nothing_else() {
    let engine = Engine::start(1).unwrap();
    let endpoint = engine.stepwise(manner("alphabet", Limits::default()), Alphabet, NoE);
    let pairs = [("temperature", ParamValue::Number(0.0)), ("max_tokens", ParamValue::Number(3.0))];
    let problem = whole(&*endpoint, ask(&["c"], &pairs)).await.unwrap_err();
    assert_eq!(problem.kind, Kind::Internal);
    let answer = whole(&*endpoint, ask(&["f"], &pairs)).await.unwrap();
    assert_eq!(text(&answer.outcomes[0]), ("ghi", Finish::Length));
    assert!(engine.alive());
}

#[tokio::test]
async fn stop_texts_are_bounded() {
    let engine = Engine::start(1).unwrap();
    let endpoint = engine.stepwise(manner("alphabet", Limits::default()), Alphabet, Letters);
    let long = ("stop", ParamValue::Text("x".repeat(257)));
    let problem = whole(&*endpoint, ask(&["a"], &[long])).await.unwrap_err();
    assert_eq!(problem.faults[0].pointer, "/parameters/stop");
}

#[tokio::test]
async fn a_slow_reader_of_a_stream_holds_back_only_itself() {
    let engine = Engine::start(1).unwrap();
    let endpoint = engine.stepwise(manner("alphabet", Limits::default()), Alphabet, Letters);
    let pairs = [
        ("temperature", ParamValue::Number(0.0)),
        ("max_tokens", ParamValue::Number(200.0)),
        ("stream", ParamValue::Bool(true)),
    ];
    let Reply::Stream(slow) = endpoint.predict(ask(&["a"], &pairs)).await.unwrap() else {
        panic!("expected a stream")
    };
    // Nobody has read a word of it yet.
    let answer = whole(&*endpoint, ask(&["b"], &pairs[..2])).await.unwrap();
    let (quick, finish) = text(&answer.outcomes[0]);
    assert_eq!((quick.len(), finish), (200, Finish::Length));
    let pieces: Vec<Piece> = slow.map(Result::unwrap).collect().await;
    let Some(Piece::End(answer)) = pieces.last() else { panic!("no end") };
    assert_eq!(text(&answer.outcomes[0]).0.len(), 200);
    assert_eq!(pieces.len(), 201);
}
