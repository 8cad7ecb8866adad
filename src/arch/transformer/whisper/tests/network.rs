//! Plan and graph, and what they remember.

use super::*;
use crate::arch::transformer::whisper::speech::Row;

/// The logits after `tokens`, read in parts of the given lengths.
pub fn logits<S: Speech>(
    speech: &S,
    audio: &S::Audio,
    tokens: &[TokenId],
    parts: &[usize],
) -> Vec<f32> {
    let mut cache = speech.begin();
    let (mut at, mut logits) = (0, Vec::new());
    for &count in parts {
        let tokens = &tokens[at..at + count];
        logits = speech.step(&mut [Row { audio, cache: &mut cache, tokens }]).unwrap().remove(0);
        at += count;
    }
    logits
}

const SAID: &[TokenId] = &[9, 11, 1, 5, 2, 2, 7];

#[test]
fn the_plan_computes_what_the_graph_does() {
    let (graph, plan) = (graph(3), plan(3));
    let window = window(1);
    near(&plan.positions(&window).unwrap(), &graph.positions(&window).unwrap());
    let [on_graph] = &graph.encode(&[&window]).unwrap()[..] else { panic!("one window") };
    let [on_plan] = &plan.encode(&[&window]).unwrap()[..] else { panic!("one window") };
    let parts = [1, 3, 1, 1, 1];
    let expected = logits(&graph, on_graph, SAID, &parts);
    near(&logits(&plan, on_plan, SAID, &parts), &expected);
    assert!(expected.iter().any(|value| value.abs() > 0.1));
}

fn remembers<S: Speech>(speech: &S) {
    let audio = speech.encode(&[&window(2)]).unwrap().remove(0);
    let whole = logits(speech, &audio, SAID, &[SAID.len()]);
    near(&logits(speech, &audio, SAID, &[1; 7]), &whole);
    near(&logits(speech, &audio, SAID, &[2, 4, 1]), &whole);
    let other = logits(speech, &audio, &SAID[1..], &[SAID.len() - 1]);
    assert!(other.iter().zip(&whole).any(|(a, b)| (a - b).abs() > 1e-2), "the first token counts");
}

#[test]
fn what_was_read_is_remembered_as_if_it_were_read_again() {
    remembers(&graph(4));
    remembers(&plan(4));
}

fn forks<S: Speech>(speech: &S) {
    let audio = &speech.encode(&[&window(2)]).unwrap().remove(0);
    let mut first = speech.begin();
    speech.step(&mut [Row { audio, cache: &mut first, tokens: &SAID[..3] }]).unwrap();
    let mut second = first.clone();
    let got = speech.step(&mut [
        Row { audio, cache: &mut first, tokens: &[5] },
        Row { audio, cache: &mut second, tokens: &[6] },
    ]);
    for (got, last) in got.unwrap().iter().zip([5, 6]) {
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
    let audio = &speech.encode(&[&window(1)]).unwrap().remove(0);
    for tokens in [&[][..], &[37], &[1; 41]] {
        let cache = &mut speech.begin();
        assert!(speech.step(&mut [Row { audio, cache, tokens }]).is_err(), "{tokens:?}");
    }
}

#[test]
fn what_does_not_fit_the_network_is_an_error_and_no_panic() {
    let (graph, plan) = (graph(1), plan(1));
    let short = Spectrogram { mels: 6, data: vec![0.0; 12] };
    assert!(graph.encode(&[&short]).is_err() && plan.encode(&[&short]).is_err());
    refuses(&graph);
    refuses(&plan);
}
