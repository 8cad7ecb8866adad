//! Golden samples: inputs with the answers that the network gave when it was packed. A version serves
//! only when it still gives them, on this device.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::arch::OpenError;
use crate::domain::{Item, Params, Payload};
use crate::engine::{Codec, Network};
use crate::package::Package;

/// Where a package lists its golden samples.
pub const GOLDEN_FILE: &str = "golden/samples.json";

/// How far a number may be from the one that was packed.
pub const TOLERANCE: f64 = 1e-3;

/// One golden sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenSample {
    /// A file of the package.
    pub input: String,
    /// `image`, `audio` or `text`.
    pub media: String,
    /// What must come out. Its form belongs to the architecture.
    pub expected: Value,
    /// Numbers may differ by this much.
    pub tolerance: f64,
}

/// The golden samples of a package, in order. A package without any is refused: it could not be checked.
///
/// # Errors
/// [`OpenError`] when the list is missing, empty or malformed.
pub fn samples(package: &Package) -> Result<Vec<GoldenSample>, OpenError> {
    let bytes = package.file(GOLDEN_FILE)?;
    let samples: Vec<GoldenSample> = serde_json::from_slice(bytes)
        .map_err(|e| OpenError::Config { section: GOLDEN_FILE, reason: e.to_string() })?;
    if samples.is_empty() {
        let reason = "it lists no sample".to_owned();
        return Err(OpenError::Config { section: GOLDEN_FILE, reason });
    }
    if let Some(empty) = samples.iter().find(|sample| !says_something(&sample.expected)) {
        let reason = "it expects nothing, so it could never fail".to_owned();
        return Err(OpenError::Golden { input: empty.input.clone(), reason });
    }
    Ok(samples)
}

/// Whether there is a number or a text in it.
fn says_something(expected: &Value) -> bool {
    match expected {
        Value::Null | Value::Bool(_) => false,
        Value::Number(_) | Value::String(_) => true,
        Value::Array(items) => items.iter().any(says_something),
        Value::Object(items) => items.values().any(says_something),
    }
}

/// The sample's input as a payload.
///
/// # Errors
/// [`OpenError`] when the file is not listed or its media is unknown.
pub fn payload(package: &Package, sample: &GoldenSample) -> Result<Payload, OpenError> {
    let bytes = package.file(&sample.input)?;
    let item = match sample.media.as_str() {
        "image" => Item::Image(bytes.to_vec().into()),
        "audio" => Item::Audio(bytes.to_vec().into()),
        "text" => Item::Text(String::from_utf8_lossy(bytes).into_owned()),
        other => {
            let reason = format!("media {other:?}: expected image, audio or text");
            return Err(OpenError::Golden { input: sample.input.clone(), reason });
        }
    };
    Ok(Payload::single(item, "/body"))
}

/// Answers every golden sample through the codec and the network, and compares.
///
/// # Errors
/// [`OpenError::Golden`] with the place in the answer that differs.
pub fn check<N, C>(package: &Package, network: &N, codec: &C) -> Result<(), OpenError>
where
    N: Network,
    C: Codec<Sample = N::Sample, Output = N::Output>,
{
    for sample in samples(package)? {
        let answer = answer(network, codec, payload(package, &sample)?)
            .map_err(|reason| OpenError::Golden { input: sample.input.clone(), reason })?;
        compare(&sample, &answer)?;
    }
    Ok(())
}

/// What a codec and a network say to a payload of one item, as JSON.
///
/// # Errors
/// A text that says which of the three steps failed and why.
pub fn answer<N, C>(network: &N, codec: &C, payload: Payload) -> Result<Value, String>
where
    N: Network,
    C: Codec<Sample = N::Sample, Output = N::Output>,
{
    let (samples, ask) = codec.decode(payload, &Params::default()).map_err(|e| e.to_string())?;
    let batch: Vec<&N::Sample> = samples.iter().collect();
    let outputs = network.run(&batch).map_err(|e| e.to_string())?;
    let outcomes = codec.encode(outputs, &ask).map_err(|e| e.to_string())?;
    serde_json::to_value(outcomes.first()).map_err(|e| e.to_string())
}

/// The first golden sample, decoded: a row to measure with. `None` where the package has none that gives one.
pub fn probe<C: Codec>(package: &Package, codec: &C) -> Option<C::Sample> {
    let sample = samples(package).ok()?.into_iter().next()?;
    let payload = payload(package, &sample).ok()?;
    codec.decode(payload, &Params::default()).ok()?.0.into_iter().next()
}

/// Compares an answer with what the sample expects: texts exactly, numbers within the tolerance. Keys
/// that the sample does not name are not compared.
///
/// # Errors
/// [`OpenError::Golden`] with the first place that differs.
pub fn compare(sample: &GoldenSample, answer: &Value) -> Result<(), OpenError> {
    differs(&sample.expected, answer, sample.tolerance, "")
        .map_or(Ok(()), |reason| Err(OpenError::Golden { input: sample.input.clone(), reason }))
}

fn differs(expected: &Value, got: &Value, tolerance: f64, at: &str) -> Option<String> {
    match (expected, got) {
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64()?, b.as_f64()?);
            // Written so that NaN differs.
            let near = (a - b).abs() <= tolerance;
            (!near).then(|| format!("{at}: expected {a} ± {tolerance}, got {b}"))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(i, (a, b))| differs(a, b, tolerance, &format!("{at}/{i}"))),
        (Value::Object(a), Value::Object(b)) => a.iter().find_map(|(key, a)| {
            differs(a, b.get(key).unwrap_or(&Value::Null), tolerance, &format!("{at}/{key}"))
        }),
        _ if expected == got => None,
        _ => Some(format!("{at}: expected {expected}, got {got}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_may_differ_a_little_and_texts_not_at_all() {
        let expected = json!({"text": "one", "scores": [0.5, 0.25]});
        let near = json!({"text": "one", "scores": [0.5005, 0.2495], "more": 1});
        assert_eq!(differs(&expected, &near, 1e-3, ""), None);
        for bad in [
            json!({"text": "two", "scores": [0.5, 0.25]}),
            json!({"text": "one", "scores": [0.5, 0.26]}),
            json!({"text": "one", "scores": [0.5]}),
            json!({"text": "one"}),
        ] {
            assert!(differs(&expected, &bad, 1e-3, "").is_some(), "{bad}");
        }
    }
}
