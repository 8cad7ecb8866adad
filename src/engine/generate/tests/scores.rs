//! What a caller may ask of texts beside their words.

use std::sync::atomic::Ordering;

use futures_util::StreamExt;

use crate::domain::{Answer, Finish, Outcome, ParamValue, Piece, ScoredToken};
use crate::engine::tests::{Alphabet, Letters, ask, manner, text, whole};
use crate::engine::{Engine, Limits, Reply};

type Pair = (&'static str, ParamValue);

fn number(name: &'static str, value: f64) -> Pair {
    (name, ParamValue::Number(value))
}

fn flag(name: &'static str) -> Pair {
    (name, ParamValue::Bool(true))
}

async fn answer(texts: &[&str], pairs: &[Pair]) -> Answer {
    let engine = Engine::start(1).unwrap();
    let endpoint = engine.stepwise(manner("alphabet", Limits::default()), Alphabet, Letters);
    whole(&*endpoint, ask(texts, pairs)).await.unwrap()
}

fn tokens(outcome: &Outcome) -> &[ScoredToken] {
    let Outcome::Generated { tokens, .. } = outcome else { panic!("{outcome:?}") };
    tokens
}

/// One letter's logit is 1, 2 or 3 and those of the 25 others are 0.
#[track_caller]
fn check_logprob(scored: &ScoredToken, letter: &str, logit: f64) {
    assert_eq!(scored.token.text, letter);
    let expected = logit - (logit.exp() + 25.0).ln();
    let got = scored.token.logprob.unwrap();
    assert!((got - expected).abs() < 1e-12, "{letter}: {got} for {expected}");
}

#[tokio::test]
async fn tokens_come_with_their_logprobs_and_the_likeliest_others() {
    let pairs = [number("temperature", 0.0), number("max_tokens", 3.0), number("logprobs", 2.0)];
    let answer = answer(&["abc"], &pairs).await;
    let tokens = tokens(&answer.outcomes[0]);
    assert_eq!(tokens.iter().map(|scored| scored.offset).collect::<Vec<_>>(), [0, 1, 2]);
    // The weight is 1 and what was read by three: of 3, 4 and 5 letters.
    for (scored, (letter, logit)) in tokens.iter().zip([("d", 1.0), ("e", 2.0), ("f", 3.0)]) {
        check_logprob(scored, letter, logit);
        let top: Vec<_> = scored.top.iter().map(|token| token.text.as_str()).collect();
        assert_eq!(top, [letter, "a"]);
    }
}

#[tokio::test]
async fn an_echo_is_the_prompt_and_its_scores_but_for_the_first() {
    let pairs = [number("max_tokens", 2.0), number("temperature", 0.0), flag("echo")];
    let plain = answer(&["abd"], &pairs).await;
    assert_eq!(text(&plain.outcomes[0]), ("abdef", Finish::Length));
    let scored = [&pairs[..], &[number("logprobs", 0.0)]].concat();
    let answer = answer(&["abd"], &scored).await;
    let Outcome::Generated { text, prompt_tokens, completion_tokens, .. } = &answer.outcomes[0]
    else {
        panic!("{answer:?}")
    };
    assert_eq!((text.as_str(), *prompt_tokens, *completion_tokens), ("abdef", 3, 2));
    let tokens = tokens(&answer.outcomes[0]);
    assert_eq!((tokens.len(), tokens[0].token.logprob), (5, None));
    check_logprob(&tokens[1], "b", 2.0);
    // What comes behind "ab" should be a "c", of weight 3.
    let got = tokens[2].token.logprob.unwrap();
    assert!((got + (3_f64.exp() + 25.0).ln()).abs() < 1e-12, "{got}");
    check_logprob(&tokens[4], "f", 2.0);
}

#[tokio::test]
async fn an_echo_is_not_counted_among_what_is_generated() {
    let engine = Engine::start(1).unwrap();
    let endpoint = engine.stepwise(manner("alphabet", Limits::default()), Alphabet, Letters);
    let pairs = [number("max_tokens", 3.0), flag("echo"), number("logprobs", 0.0)];
    whole(&*endpoint, ask(&["abcde", "fg"], &pairs)).await.unwrap();
    assert_eq!(endpoint.stats().generated_tokens.load(Ordering::Relaxed), 6);
}

#[tokio::test]
async fn an_echo_alone_generates_nothing() {
    for more in [vec![], vec![number("logprobs", 1.0)]] {
        let pairs = [vec![flag("echo"), number("max_tokens", 0.0)], more].concat();
        let answer = answer(&["xyz"], &pairs).await;
        assert_eq!(text(&answer.outcomes[0]), ("xyz", Finish::Length));
        assert_eq!(tokens(&answer.outcomes[0]).len(), if pairs.len() == 3 { 3 } else { 0 });
    }
}

#[tokio::test]
async fn several_texts_of_an_item_are_those_of_their_seeds() {
    let pairs = [number("seed", 5.0), number("max_tokens", 30.0), number("n", 3.0)];
    let answer = answer(&["a", "q"], &pairs).await;
    let seed = |outcome: &Outcome| match outcome {
        Outcome::Generated { seed, .. } => *seed,
        other => panic!("{other:?}"),
    };
    assert_eq!(answer.outcomes.len(), 6);
    assert_eq!(seed(&answer.outcomes[0]), 5);
    #[expect(clippy::cast_precision_loss, reason = "seeds are below 2^53")]
    for (at, prompt) in [(1, "a"), (5, "q")] {
        let again = seed(&answer.outcomes[at]) as f64;
        let pairs = [number("seed", again), number("max_tokens", 30.0)];
        assert_eq!(self::answer(&[prompt], &pairs).await.outcomes, answer.outcomes[at..=at]);
    }
    assert_ne!(text(&answer.outcomes[0]).0, text(&answer.outcomes[1]).0);
}

#[tokio::test]
async fn a_stop_text_takes_its_tokens_with_it() {
    let stop = ("stop", ParamValue::Text("fg".into()));
    let pairs = [number("temperature", 0.0), number("logprobs", 0.0), stop];
    let answer = answer(&["abc"], &pairs).await;
    assert_eq!(text(&answer.outcomes[0]), ("de", Finish::Stop));
    assert_eq!(tokens(&answer.outcomes[0]).len(), 2);
}

#[tokio::test]
async fn texts_that_are_streamed_side_by_side_join_to_the_whole_ones() {
    let engine = Engine::start(1).unwrap();
    let endpoint = engine.stepwise(manner("alphabet", Limits::default()), Alphabet, Letters);
    let pairs = [number("seed", 3.0), number("n", 2.0), number("logprobs", 1.0), flag("echo")];
    let whole = whole(&*endpoint, ask(&["k", "mn"], &pairs)).await.unwrap();
    let streamed = [&pairs[..], &[flag("stream")]].concat();
    let Reply::Stream(stream) = endpoint.predict(ask(&["k", "mn"], &streamed)).await.unwrap()
    else {
        panic!("expected a stream")
    };
    let mut joined = vec![(String::new(), Vec::new()); 4];
    let pieces: Vec<Piece> = stream.map(Result::unwrap).collect().await;
    for piece in &pieces[..pieces.len() - 1] {
        let Piece::Text(fragment) = piece else { panic!("an end in the middle") };
        joined[fragment.index].0.push_str(&fragment.text);
        joined[fragment.index].1.extend(fragment.tokens.iter().cloned());
    }
    assert!(matches!(pieces.last(), Some(Piece::End(end)) if end.outcomes == whole.outcomes));
    for (outcome, (text, shown)) in whole.outcomes.iter().zip(joined) {
        assert_eq!((self::text(outcome).0, tokens(outcome)), (text.as_str(), &shown[..]));
    }
}
