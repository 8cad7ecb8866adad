//! What comes back.

use serde::Deserialize;

use crate::client::ClientError;

/// The answer to one request, and its receipt.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Prediction {
    pub id: String,
    pub model: String,
    pub version: u32,
    /// SHA-256 of the package that answered.
    pub digest: String,
    /// One for each input.
    #[serde(default, rename = "results")]
    pub outcomes: Vec<Outcome>,
}

/// The result for one input.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Outcome {
    /// Best first.
    Classes {
        predictions: Vec<Class>,
    },
    Generated {
        text: String,
        finish_reason: String,
        prompt_tokens: usize,
        completion_tokens: usize,
        seed: u64,
    },
    Transcript {
        text: String,
        words: Vec<Word>,
        duration: f32,
    },
    Embedding {
        embedding: Vec<f32>,
        tokens: usize,
    },
    Values {
        values: Vec<f32>,
    },
}

/// A label and its probability.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Class {
    pub label: String,
    pub index: usize,
    pub score: f32,
}

/// A word and when it was said, in seconds.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Word {
    pub word: String,
    pub start: f32,
    pub end: f32,
    pub confidence: f32,
}

/// Reads an answer: the outcome of a single input stands beside the receipt, several are a list.
pub fn prediction(body: &[u8]) -> Result<Prediction, ClientError> {
    let foreign = |_| ClientError::Foreign;
    let mut prediction: Prediction = serde_json::from_slice(body).map_err(foreign)?;
    if prediction.outcomes.is_empty() {
        prediction.outcomes = vec![serde_json::from_slice(body).map_err(foreign)?];
    }
    Ok(prediction)
}

/// A model and its versions.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Model {
    pub id: String,
    pub versions: Vec<Entry>,
}

/// One version of a model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Entry {
    pub version: u32,
    pub state: String,
    /// Why it is not ready, where it is not.
    #[serde(default)]
    pub reason: Option<String>,
}

#[derive(Deserialize)]
pub struct List {
    pub data: Vec<Model>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIPT: &str =
        r#""id": "a", "model": "m", "version": 2, "digest": "d", "batch_rows": 1"#;

    #[test]
    fn an_answer_to_one_input_and_to_several_reads_alike() {
        let one = format!(r#"{{{RECEIPT}, "values": [1.5]}}"#);
        let several = format!(r#"{{{RECEIPT}, "results": [{{"values": [1.5]}}]}}"#);
        let read = |text: &str| prediction(text.as_bytes()).unwrap();
        assert_eq!(read(&one), read(&several));
        assert_eq!(read(&one).outcomes, [Outcome::Values { values: vec![1.5] }]);
        assert!(matches!(prediction(b"<html>"), Err(ClientError::Foreign)));
        assert!(matches!(
            prediction(format!("{{{RECEIPT}}}").as_bytes()),
            Err(ClientError::Foreign)
        ));
    }
}
