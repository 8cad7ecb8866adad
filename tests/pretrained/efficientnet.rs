//! EfficientNet-Lite0 against PyTorch's logits.

use std::fs;

use maas::domain::{Item, MediaLimits, Outcome, ParamValue, Params, Tensor};
use maas::media::picture::Picture;
use maas::media::preprocessing::Preprocessing;
use serde::Deserialize;

use crate::support::{Model, data};

const CLASSES: usize = 1000;

#[derive(Deserialize)]
struct Expected {
    original: String,
    crop: String,
    top5: Vec<usize>,
    top1_probability: f64,
    logits: Vec<f64>,
}

fn expected() -> Vec<Expected> {
    serde_json::from_slice(&fs::read(data("images/expected.json")).unwrap()).unwrap()
}

fn model() -> Model {
    Model::open("efficientnet-lite0/1")
}

/// The network's own input: a crop of 224 × 224 is only normalised.
fn crop(expected: &Expected) -> Item {
    let preprocessing: Preprocessing = toml::from_str(
        "channels = 3\nwidth = 224\nheight = 224\nfit = \"stretch\"\nfilter = \"nearest\"\n\
         mean = [127, 127, 127]\nstd = [128, 128, 128]",
    )
    .unwrap();
    let bytes = fs::read(data("images").join(&expected.crop)).unwrap();
    let picture = Picture::decode(&bytes, &MediaLimits::default(), "/body").unwrap();
    let shape = preprocessing.shape().to_vec();
    Item::Tensor(Tensor::new(shape, preprocessing.apply(&picture)).unwrap())
}

/// Class and score of each item, best first.
fn classes(model: &Model, items: Vec<Item>, top: usize) -> Vec<Vec<(usize, f32)>> {
    let mut params = Params::default();
    #[expect(clippy::cast_precision_loss, reason = "at most a thousand")]
    params.insert("top_k", ParamValue::Number(top as f64), "/parameters/top_k".to_owned());
    let outcomes = model.answer(items, params);
    let pairs = outcomes.into_iter().map(|outcome| match outcome {
        Outcome::Classes { predictions, .. } => {
            predictions.into_iter().map(|class| (class.index, class.score)).collect()
        }
        other => panic!("{other:?}"),
    });
    pairs.collect()
}

/// An answer holds probabilities, so logits are compared as log-probabilities: ln p is the logit less
/// ln Σ exp of all of them, and what is lost is only what adds the same to each.
#[test]
fn the_crops_have_the_reference_s_logits_and_the_same_five_best() {
    let expected = expected();
    let answers = classes(&model(), expected.iter().map(crop).collect(), CLASSES);
    assert_eq!(answers.len(), 5);
    for (expected, answer) in expected.iter().zip(answers) {
        let top: Vec<usize> = answer.iter().take(5).map(|&(index, _)| index).collect();
        assert_eq!(top, expected.top5, "{}", expected.crop);
        assert_eq!(answer.len(), CLASSES);
        let sum: f64 = expected.logits.iter().map(|logit| logit.exp()).sum();
        let difference = |&(index, score): &(usize, f32)| {
            (f64::from(score).ln() - (expected.logits[index] - sum.ln())).abs()
        };
        let worst = answer.iter().map(difference).fold(0.0, f64::max);
        assert!(worst <= 1e-3, "{}: {worst}", expected.crop);
        println!("{}: log-probabilities differ by at most {worst:.1e}", expected.crop);
    }
}

#[test]
fn the_photographs_are_what_the_reference_says_where_it_is_sure() {
    let sure: Vec<Expected> =
        expected().into_iter().filter(|expected| expected.top1_probability > 0.5).collect();
    assert!(sure.len() >= 2, "{}", sure.len());
    let read = |expected: &Expected| {
        Item::Image(fs::read(data("images").join(&expected.original)).unwrap().into())
    };
    let answers = classes(&model(), sure.iter().map(read).collect(), 1);
    for (expected, answer) in sure.iter().zip(answers) {
        assert_eq!(answer[0].0, expected.top5[0], "{}", expected.original);
    }
}

#[test]
fn a_picture_has_the_same_bits_alone_and_among_others() {
    let (model, expected) = (model(), expected());
    let mixed: Vec<Item> = expected.iter().cycle().take(32).map(crop).collect();
    let together = classes(&model, mixed, CLASSES);
    for (index, expected) in expected.iter().enumerate() {
        let alone = classes(&model, vec![crop(expected)], CLASSES).remove(0);
        for row in together.iter().skip(index).step_by(5) {
            assert_eq!(*row, alone, "{}", expected.crop);
        }
    }
}
