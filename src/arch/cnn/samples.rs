//! Golden samples of a classifier: one test picture per class.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::arch::TrainError;
use crate::arch::cnn::codec::CnnCodec;
use crate::arch::cnn::evaluate::picture;
use crate::arch::cnn::net::CnnNetwork;
use crate::arch::golden::{self, GoldenSample};
use crate::dataset::idx::Split;
use crate::domain::{Item, Payload};

/// Pictures of a class that are looked at before the best so far is taken.
const LOOKED_AT: usize = 50;

/// For each class a PNG of a test picture in `files` and the answer that the network gives to it.
pub fn make(
    network: &CnnNetwork,
    codec: &CnnCodec,
    test: &Split,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> Result<Vec<GoldenSample>, TrainError> {
    let mut samples = Vec::new();
    for (class, label) in codec.labels.iter().enumerate() {
        let Some((png, expected)) = choose(network, codec, test, class)? else { continue };
        let mut input = format!("golden/{}.png", short_name(label));
        if files.contains_key(&input) {
            input = format!("golden/{class}.png");
        }
        files.insert(input.clone(), png);
        let tolerance = golden::TOLERANCE;
        samples.push(GoldenSample { input, media: "image".to_owned(), expected, tolerance });
    }
    Ok(samples)
}

/// The first picture of the class that is classified right and whose scores lie so far apart that no
/// other device can put them in another order; failing that, the first of the class.
fn choose(
    network: &CnnNetwork,
    codec: &CnnCodec,
    test: &Split,
    class: usize,
) -> Result<Option<(Vec<u8>, Value)>, TrainError> {
    let mut first = None;
    let of_class = (0..test.len()).filter(|&i| usize::from(test.labels[i]) == class);
    for index in of_class.take(LOOKED_AT) {
        let picture = picture(test.rows, test.columns, test.picture(index).to_vec())?;
        let png = picture.to_png().map_err(TrainError::Data)?;
        let payload = Payload::single(Item::Image(png.clone().into()), "/body");
        let answer = golden::answer(network, codec, payload).map_err(TrainError::Data)?;
        if is_clear(&answer, class) {
            return Ok(Some((png, answer)));
        }
        first = first.or(Some((png, answer)));
    }
    Ok(first)
}

fn is_clear(answer: &Value, class: usize) -> bool {
    let Some(predictions) = answer["predictions"].as_array() else { return false };
    let scores: Vec<f64> = predictions.iter().filter_map(|p| p["score"].as_f64()).collect();
    predictions.first().is_some_and(|best| best["index"] == class)
        && scores.windows(2).all(|pair| pair[1] < 0.9 * pair[0])
}

/// The label's last word, in small letters: `Ankle boot` is `boot`.
fn short_name(label: &str) -> String {
    let words = label.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.last().map_or_else(|| "class".to_owned(), str::to_ascii_lowercase)
}
