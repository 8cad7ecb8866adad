//! `maas eval` through the program: the shipped models on tiny data made of their golden samples.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{maas, models};

/// The golden pictures as IDX files, in the order of their classes. The boot is called a bag.
fn pictures() -> TempDir {
    let directory = TempDir::new().unwrap();
    let names = [
        "top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot",
    ];
    let mut pictures = vec![0, 0, 8, 3, 0, 0, 0, 10, 0, 0, 0, 28, 0, 0, 0, 28];
    for name in names {
        let path = models().join(format!("fashion/1/golden/{name}.png"));
        pictures.extend(image::open(path).unwrap().to_luma8().into_raw());
    }
    let labels = [&[0, 0, 8, 1, 0, 0, 0, 10][..], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 8]].concat();
    fs::write(directory.path().join("t10k-images-idx3-ubyte"), pictures).unwrap();
    fs::write(directory.path().join("t10k-labels-idx1-ubyte"), labels).unwrap();
    directory
}

/// The golden code ("three eight one five"), said to be others.
fn clips() -> TempDir {
    let directory = TempDir::new().unwrap();
    fs::copy(models().join("digits/1/golden/code.wav"), directory.path().join("code.wav")).unwrap();
    let clip = |text: &str, split: &str| {
        format!(r#"{{"audio": "code.wav", "text": "{text}", "voice": "x", "split": "{split}"}}"#)
    };
    let (test, real) = (clip("three nine one five", "test"), clip("three one five six", "real"));
    fs::write(directory.path().join("clips.jsonl"), format!("{test}\n{real}\n")).unwrap();
    directory
}

/// What `maas eval` prints.
fn printed(model: &str, data: &Path, state: &Path, flags: &[&str]) -> String {
    let mut command = maas();
    command.arg("eval").arg(models().join(model)).arg("--data").arg(data);
    let output = command.arg("--state").arg(state).args(flags).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(model: &str, data: &Path, state: &Path) -> Value {
    serde_json::from_str(&printed(model, data, state, &["--json"])).unwrap()
}

#[test]
fn pictures_are_counted_by_class_drawn_and_filed() {
    let (data, place) = (pictures(), TempDir::new().unwrap());
    let state = place.path().join("state");
    let folder = place.path().join("new/report");
    let report = ["--report", folder.to_str().unwrap()];
    let said = printed("fashion/1", data.path(), &state, &report);
    assert!(said.contains("accuracy                    0.9000\n"), "{said}");
    assert!(said.contains("\nAnkle boot       0.000       -   0.000        0\n"), "{said}");
    assert!(said.contains("\n  8 Bag         · · · · · · · · 1 1\n"), "{said}");

    let written: Value =
        serde_json::from_slice(&fs::read(folder.join("report.json")).unwrap()).unwrap();
    let mut again = json("fashion/1", data.path(), &state);
    again["evaluated_at"] = written["evaluated_at"].clone();
    assert_eq!(again, written);
    assert_eq!(written["package"], "fashion/1");
    assert_eq!(written["metrics"]["top_5_accuracy"], 1.0);
    assert_eq!(written["confusion"][8][9], 1);
    assert_eq!(written["classes"][8]["recall"], 0.5);
    let counts = written["calibration"].as_array().unwrap().iter().map(|bin| &bin["count"]);
    assert_eq!(counts.filter_map(Value::as_u64).sum::<u64>(), 10);
    for name in ["confusion", "calibration"] {
        let picture = image::open(folder.join(format!("{name}.png"))).unwrap();
        assert!(picture.width() > 400, "{name}: {}", picture.width());
        let svg = fs::read_to_string(folder.join(format!("{name}.svg"))).unwrap();
        assert!(svg.contains("fashion/1: 10 test pictures"), "{svg}");
    }

    let digest = written["package_digest"].as_str().unwrap().parse().unwrap();
    let filed = maas::state::Database::open(&state).unwrap().evaluations(&digest, 9).unwrap();
    assert_eq!(serde_json::to_value(&filed[0].metrics).unwrap(), written["metrics"]);
}

#[test]
fn speech_is_aligned_word_by_word_in_each_split() {
    let (data, place) = (clips(), TempDir::new().unwrap());
    let report = json("digits/1", data.path(), place.path());
    assert_eq!(report["metrics"]["wer"], 0.25);
    assert_eq!(report["metrics"]["wer_real"], 0.5);
    let [test, real] = &report["splits"].as_array().unwrap()[..] else { panic!("{report}") };
    assert_eq!((&test["name"], &real["name"]), (&"test".into(), &"real".into()));
    assert_eq!(test["words"]["substitutions"], 1);
    assert_eq!((&real["words"]["insertions"], &real["words"]["deletions"]), (&1.into(), &1.into()));
    let step = &test["worst"][0]["alignment"][1];
    assert_eq!(
        *step,
        serde_json::json!({"kind": "substitution", "said": "nine", "heard": "eight"})
    );

    let said = printed("digits/1", data.path(), place.path(), &[]);
    let aligned = "
code.wav: 2 errors in 4 words
  said  three ***** one five six
  heard three eight one five ***
              I              D
";
    assert!(said.ends_with(aligned), "{said}");
}

#[test]
fn text_is_counted_in_tokens_and_characters() {
    let place = TempDir::new().unwrap();
    let line = fs::read_to_string(models().join("kjv/1/golden/line.txt")).unwrap();
    let text = place.path().join("text.txt");
    fs::write(&text, line.repeat(40)).unwrap();
    let report = json("kjv/1", &text, &place.path().join("state"));
    let (tokens, scored) = (&report["tokens"], &report["tokens_scored"]);
    assert_eq!(*tokens, report["characters"]);
    assert_eq!(tokens.as_u64().unwrap() - 1, scored.as_u64().unwrap());
    let perplexity = report["metrics"]["perplexity"].as_f64().unwrap();
    let bits = report["metrics"]["bits_per_character"].as_f64().unwrap();
    // One token a character, of which one was not scored.
    assert!((perplexity.log2() - bits).abs() < 1e-9, "{perplexity} {bits}");
}

#[test]
fn what_is_no_data_is_refused_by_its_place() {
    let place = TempDir::new().unwrap();
    let refused = |flags: &[&str]| {
        let mut command = maas();
        command.arg("eval").arg(models().join("fashion/1")).args(flags);
        let output = command.arg("--state").arg(place.path()).output().unwrap();
        assert!(!output.status.success() && output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&["--data", "/nowhere"]).contains("/nowhere"));
    // Before the work: the data are not looked at.
    let said = refused(&["--data", "/nowhere", "--report", "/dev/null/report"]);
    assert!(said.contains("/dev/null/report cannot be written"), "{said}");
}
