//! MiniLM-L6 against the embeddings of sentence-transformers.

use std::fs;

use maas::domain::{Item, Outcome, Params};
use serde::Deserialize;

use crate::support::{Model, data};

#[derive(Deserialize)]
struct Expected {
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    text: String,
    /// Tokens, those that frame the text included.
    ids: Vec<u32>,
    embedding: Vec<f64>,
}

fn sentences() -> Vec<Sentence> {
    let bytes = fs::read(data("embeddings/expected.json")).unwrap();
    serde_json::from_slice::<Expected>(&bytes).unwrap().sentences
}

fn model() -> Model {
    Model::open("minilm-l6/1")
}

/// Embedding and number of tokens of each text, as one request of many rows gets them.
fn embeddings(model: &Model, texts: &[&str]) -> Vec<(Vec<f32>, usize)> {
    let items = texts.iter().map(|&text| Item::Text(text.to_owned())).collect();
    let outcomes = model.answer(items, Params::default()).into_iter();
    let pairs = outcomes.map(|outcome| match outcome {
        Outcome::Embedding { embedding, tokens } => (embedding, tokens),
        other => panic!("{other:?}"),
    });
    pairs.collect()
}

fn cosine(a: &[f32], b: &[f64]) -> f64 {
    let dot: f64 = a.iter().zip(b).map(|(&a, b)| f64::from(a) * b).sum();
    let a: f64 = a.iter().map(|&a| f64::from(a).powi(2)).sum();
    let b: f64 = b.iter().map(|b| b * b).sum();
    dot / (a * b).sqrt()
}

#[test]
fn sentences_have_the_reference_s_tokens_and_embeddings() {
    let sentences = sentences();
    let texts: Vec<&str> = sentences.iter().map(|sentence| sentence.text.as_str()).collect();
    let answers = embeddings(&model(), &texts);
    assert_eq!((answers.len(), answers[0].0.len()), (10, 384));
    for (sentence, (embedding, tokens)) in sentences.iter().zip(&answers) {
        // Which tokens they are, the embedding tells: another one moves it further than this.
        assert_eq!(*tokens, sentence.ids.len(), "{}", sentence.text);
        let cosine = cosine(embedding, &sentence.embedding);
        assert!(cosine >= 0.9999, "{}: {cosine}", sentence.text);
        println!("{cosine:.7} {}", sentence.text);
    }
}

#[test]
fn a_sentence_has_the_same_bits_alone_and_among_31_others() {
    let (model, sentences) = (model(), sentences());
    let longer =
        sentences.iter().map(|sentence| sentence.text.as_str()).collect::<Vec<_>>().join(" ");
    let mut texts: Vec<&str> =
        sentences.iter().cycle().take(31).map(|sentence| sentence.text.as_str()).collect();
    texts.push(&longer);
    let together = embeddings(&model, &texts);
    let bits = |row: &[f32]| row.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    for (text, (among, _)) in texts.iter().zip(&together).skip(21) {
        let alone = &embeddings(&model, &[text])[0].0;
        assert_eq!(bits(alone), bits(among), "{text}");
    }
}
