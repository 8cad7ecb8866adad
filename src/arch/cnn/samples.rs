//! Golden samples of a classifier: one test picture per class.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::arch::TrainError;
use crate::arch::cnn::codec::{CnnCodec, TOP_K};
use crate::arch::golden::{self, GoldenSample};
use crate::dataset::pictures::Part;
use crate::domain::{Item, Payload};
use crate::engine::Network;

/// Pictures of a class that are looked at before the best so far is taken.
const LOOKED_AT: usize = 50;

/// Pixels of a golden picture's longer side, at most, so that packages are small.
const SIDE_MAX: u32 = 512;

/// For each class a PNG of a test picture in `files` and the answer that the network gives to it.
pub fn make(
    network: &impl Network<Sample = Vec<f32>, Output = Vec<f32>>,
    codec: &CnnCodec,
    test: &Part,
    files: &mut BTreeMap<String, Vec<u8>>,
) -> Result<Vec<GoldenSample>, TrainError> {
    let mut samples = Vec::new();
    for (class, label) in codec.labels.iter().enumerate() {
        let Some((png, expected)) = choose(network, codec, test, class)? else { continue };
        let mut input = format!("golden/{}.png", short_name(label));
        if files.contains_key(&input) {
            input = format!("golden/{class}-{}.png", short_name(label));
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
    network: &impl Network<Sample = Vec<f32>, Output = Vec<f32>>,
    codec: &CnnCodec,
    test: &Part,
    class: usize,
) -> Result<Option<(Vec<u8>, Value)>, TrainError> {
    let mut first = None;
    let of_class = (0..test.len()).filter(|&i| test.label(i) == class);
    for index in of_class.take(LOOKED_AT) {
        let picture = test.picture(index)?.within(SIDE_MAX);
        let sample = codec.preprocessing.apply(&picture);
        let scores =
            network.run(&[&sample]).map_err(|error| TrainError::Data(error.to_string()))?;
        let png = picture.to_png().map_err(TrainError::Data)?;
        if scores.iter().all(|scores| is_clear(scores, class)) {
            return answered(network, codec, png).map(Some);
        }
        first = first.or(Some(png));
    }
    first.map(|png| answered(network, codec, png)).transpose()
}

fn answered(
    network: &impl Network<Sample = Vec<f32>, Output = Vec<f32>>,
    codec: &CnnCodec,
    png: Vec<u8>,
) -> Result<(Vec<u8>, Value), TrainError> {
    let payload = Payload::single(Item::Image(png.clone().into()), "/body");
    let answer = golden::answer(network, codec, payload).map_err(TrainError::Data)?;
    Ok((png, answer))
}

/// Whether `class` is first, and each score that an answer shows is a tenth above the next.
fn is_clear(scores: &[f32], class: usize) -> bool {
    let best = scores.iter().copied().max_by(f32::total_cmp);
    scores.get(class).copied() == best && are_apart(scores, 0.9)
}

/// Whether each score that an answer shows is so far above the next that the next is at most `ratio` of
/// it: no other device can then put them in another order.
pub fn are_apart(scores: &[f32], ratio: f32) -> bool {
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    sorted.truncate(TOP_K + 1);
    sorted.windows(2).all(|pair| pair[1] < ratio * pair[0])
}

/// The label's last word, in small letters: `Ankle boot` is `boot`.
fn short_name(label: &str) -> String {
    let mut words =
        label.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.next_back().map_or_else(|| "class".to_owned(), str::to_ascii_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clear_answer_is_right_and_has_no_near_ties_among_what_it_shows() {
        assert!(is_clear(&[0.3, 0.6, 0.1], 1));
        assert!(!is_clear(&[0.3, 0.6, 0.1], 0));
        assert!(!is_clear(&[0.31, 0.59, 0.3], 1));
        // The sixth decides which is fifth; the seventh is not seen.
        assert!(!is_clear(&[0.5, 0.2, 0.1, 0.05, 0.02, 0.019], 0));
        assert!(is_clear(&[0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.01], 0));
    }

    #[test]
    fn files_are_called_by_the_last_word() {
        assert_eq!(short_name("Ankle boot"), "boot");
        assert_eq!(short_name("T-shirt/top"), "top");
        assert_eq!(short_name("…"), "class");
    }
}
