//! Plan and graph, and what they remember.

use super::*;
use crate::arch::transformer::whisper::config::Head;
use crate::engine::Row;

/// The logits after `tokens`, read in parts of the given lengths.
pub fn logits<S: Speech>(
    speech: &S,
    audio: &Arc<S::Audio>,
    tokens: &[TokenId],
    parts: &[usize],
) -> Vec<f32> {
    let state = &mut speech.begin(audio);
    // What is left in it is not added to.
    let (mut at, mut logits) = (0, vec![0.5; 7]);
    for (part, &count) in parts.iter().enumerate() {
        let tokens = &tokens[at..at + count];
        let want_logits = part + 1 == parts.len();
        speech.step(&mut [Row { state, tokens, want_logits }], &mut logits).unwrap();
        assert_eq!(logits.len(), if want_logits { config().vocabulary } else { 0 });
        at += count;
    }
    logits
}

pub fn hear<S: Speech>(speech: &S, seed: u32) -> Arc<S::Audio> {
    Arc::new(speech.encode(&window(seed)).unwrap())
}

const SAID: &[TokenId] = &[9, 11, 1, 5, 2, 2, 7];

#[test]
fn the_plan_computes_what_the_graph_does() {
    let (graph, plan) = (graph(3), plan(3));
    let window = window(1);
    near(&plan.positions(&window).unwrap(), &graph.positions(&window).unwrap());
    let parts = [1, 3, 1, 1, 1];
    let expected = logits(&graph, &hear(&graph, 1), SAID, &parts);
    near(&logits(&plan, &hear(&plan, 1), SAID, &parts), &expected);
    assert!(expected.iter().any(|value| value.abs() > 0.1));
}

fn remembers<S: Speech>(speech: &S) {
    let audio = hear(speech, 2);
    let whole = logits(speech, &audio, SAID, &[SAID.len()]);
    near(&logits(speech, &audio, SAID, &[1; 7]), &whole);
    near(&logits(speech, &audio, SAID, &[2, 4, 1]), &whole);
    let other = logits(speech, &audio, &SAID[1..], &[SAID.len() - 1]);
    assert!(other.iter().zip(&whole).any(|(a, b)| (a - b).abs() > 1e-2), "the first token counts");
}

/// What the last head of each layer listens to while a text is read.
fn shown<S: Speech>(speech: &S) -> Vec<Vec<f32>> {
    let (audio, mut all) = (hear(speech, 1), Vec::new());
    let heads = [Head(0, 3), Head(1, 3)];
    speech.attend(&audio, SAID, &heads, &mut |scores| all.push(scores.to_vec())).unwrap();
    let bad = speech.attend(&audio, &[], &heads, &mut |_| {});
    assert!(bad.is_err() && speech.attend(&audio, &[99], &heads, &mut |_| {}).is_err());
    all
}

#[test]
fn heads_show_the_same_in_both_ways() {
    let (graph, plan) = (shown(&graph(3)), shown(&plan(3)));
    assert_eq!((graph.len(), plan.len()), (2, 2));
    for (ours, theirs) in plan.iter().zip(&graph) {
        assert_eq!(ours.len(), SAID.len() * config().audio_positions);
        near(ours, theirs);
    }
    assert!(plan[0].iter().zip(&plan[1]).any(|(a, b)| (a - b).abs() > 1e-2));
}

#[test]
fn what_was_read_is_remembered_as_if_it_were_read_again() {
    remembers(&graph(4));
    remembers(&plan(4));
}

fn row<'a, S>(state: &'a mut S, tokens: &'a [TokenId]) -> Row<'a, S> {
    Row { state, tokens, want_logits: true }
}

fn forks<S: Speech>(speech: &S) {
    let audio = &hear(speech, 2);
    let (mut first, mut got) = (speech.begin(audio), Vec::new());
    speech.step(&mut [row(&mut first, &SAID[..3])], &mut got).unwrap();
    let mut second = first.clone();
    speech.step(&mut [row(&mut first, &[5]), row(&mut second, &[6])], &mut got).unwrap();
    for (got, last) in got.chunks_exact(config().vocabulary).zip([5, 6]) {
        let all = [SAID[0], SAID[1], SAID[2], last];
        near(got, &logits(speech, audio, &all, &[4]));
    }
}

#[test]
fn a_fork_goes_its_own_way() {
    forks(&graph(5));
    forks(&plan(5));
}

fn refuses<S: Speech>(speech: &S) {
    let audio = &hear(speech, 1);
    for tokens in [&[][..], &[37], &[1; 41]] {
        let state = &mut speech.begin(audio);
        assert!(speech.step(&mut [row(state, tokens)], &mut Vec::new()).is_err(), "{tokens:?}");
    }
}

#[test]
fn what_does_not_fit_the_network_is_an_error_and_no_panic() {
    let (graph, plan) = (graph(1), plan(1));
    let short = Spectrogram { mels: 6, data: vec![0.0; 12] };
    assert!(graph.encode(&short).is_err() && plan.encode(&short).is_err());
    refuses(&graph);
    refuses(&plan);
}
