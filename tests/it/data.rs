//! `maas train` and `maas eval` on data of one's own: a folder of pictures, CIFAR-10's batches.

use std::path::Path;
use std::process::Output;

use image::{Rgb, RgbImage};

use crate::support::maas;

const RECIPE: &str = r#"
    name = "colours"
    version = 1
    task = "image-classification"
    description = "Red or blue"
    author = "a test"
    licence = "MIT"
    [preprocessing]
    channels = 3
    width = 8
    height = 8
    fit = "stretch"
    filter = "triangle"
    mean = [128, 128, 128]
    std = [64, 64, 64]
    [architecture]
    name = "cnn"
    config = { layers = [{ kind = "global-average-pool" }, { kind = "linear", out = 2 }] }
    [data]
    directory = "data"
    validation = 0.2
    seed = 3
    [fit]
    epochs = 1
    batch = 4
    optimiser = { method = "adamw", learning_rate = 0.05 }
    schedule = { kind = "constant" }
    options = { augmentation = { crop_padding = 1, flip = true, brightness = 0.1, saturation = 0.1 } }
"#;

fn directory(recipe: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("recipe.toml"), recipe).unwrap();
    std::fs::create_dir(directory.path().join("data")).unwrap();
    directory
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    maas().current_dir(directory).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn train(directory: &Path, more: &[&str]) -> Output {
    run(directory, &[&["train", "recipe.toml", "--out", "out", "--json"], more].concat())
}

/// The receipt in the manifest of what was packed.
fn receipt(directory: &Path) -> toml::Table {
    let manifest = directory.join("out/colours/1/manifest.toml");
    let manifest: toml::Table =
        toml::from_str(&std::fs::read_to_string(manifest).unwrap()).unwrap();
    manifest["training"].as_table().unwrap().clone()
}

fn count(receipt: &toml::Table, part: &str) -> Option<i64> {
    receipt["data_parts"].get(part)?.as_integer()
}

fn paint(path: &Path, colour: [u8; 3], side: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_pixel(side, side + 1, Rgb(colour)).save(path).unwrap();
}

#[test]
fn a_folder_of_pictures_is_learned_and_its_bad_ones_are_named_or_left_out() {
    let directory = directory(&RECIPE.replace("validation = 0.2", "validation = 0.2\ntest = 0.2"));
    let data = directory.path().join("data");
    for index in 0..10_u8 {
        paint(&data.join(format!("red/{index}.png")), [200 + index, 0, 30], 9);
        paint(&data.join(format!("blue/{index}.jpg")), [0, index, 220], 20);
    }
    std::fs::write(
        data.join("red/torn.png"),
        &std::fs::read(data.join("red/1.png")).unwrap()[..50],
    )
    .unwrap();
    let refused = train(directory.path(), &[]);
    assert!(!refused.status.success() && said(&refused).contains("red/torn.png"), "{refused:?}");
    assert!(said(&refused).contains("--on-bad-sample skip"), "{refused:?}");

    let trained = train(directory.path(), &["--on-bad-sample", "skip"]);
    assert!(trained.status.success(), "{trained:?}");
    assert!(said(&trained).contains("left out: data/red/torn.png"), "{trained:?}");
    assert!(said(&trained).contains("1 bad samples were left out"), "{trained:?}");
    let receipt = receipt(directory.path());
    let parts = ["train", "validation", "test"].map(|part| count(&receipt, part).unwrap());
    assert_eq!(parts.iter().sum::<i64>(), 20, "{receipt:?}");
    assert!(parts.iter().all(|&count| (3..=13).contains(&count)), "{receipt:?}");
    assert_eq!(count(&receipt, "left_out"), Some(1));
    assert_eq!(receipt["data_seed"].as_integer(), Some(3));

    let evaluate =
        ["eval", "--json", "out/colours/1", "--state", "state", "--on-bad-sample", "skip"];
    let measured = run(directory.path(), &evaluate);
    assert!(measured.status.success(), "{measured:?}");
    let figures: serde_json::Value = serde_json::from_slice(&measured.stdout).unwrap();
    let of = format!("{} test pictures", parts[2]);
    assert!(figures["data_description"].as_str().unwrap().starts_with(&of), "{figures}");
}

#[test]
fn batches_of_cifar_10_are_learned() {
    let directory = directory(RECIPE);
    let data = directory.path().join("data");
    let batch = |labels: &[u8]| {
        let planes = |&label: &u8| {
            let [red, blue] = if label == 0 { [200, 20] } else { [20, 200] };
            [vec![label], vec![red; 1024], vec![30; 1024], vec![blue; 1024]].concat()
        };
        labels.iter().flat_map(planes).collect::<Vec<u8>>()
    };
    for number in 1..=5 {
        let name = format!("data_batch_{number}.bin");
        std::fs::write(data.join(name), batch(&[0, 1])).unwrap();
    }
    std::fs::write(data.join("test_batch.bin"), batch(&[1, 0, 1])).unwrap();
    std::fs::write(data.join("batches.meta.txt"), "red\nblue\n\n").unwrap();
    let trained = train(directory.path(), &[]);
    assert!(trained.status.success(), "{trained:?}");
    let receipt = receipt(directory.path());
    let parts = ["train", "validation", "test", "left_out"].map(|part| count(&receipt, part));
    assert_eq!(parts, [8, 2, 3, 0].map(Some));
    assert!(receipt["data_description"].as_str().unwrap().contains("CIFAR-10"), "{receipt:?}");
    let labels = std::fs::read_to_string(directory.path().join("out/colours/1/labels.txt"));
    assert_eq!(labels.unwrap(), "red\nblue\n");
}
