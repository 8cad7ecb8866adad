//! `maas train` as a process: killed, resumed, refused.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use crate::support::maas;

const RECIPE: &str = r#"
    name = "abc"
    version = 1
    task = "text-generation"
    description = "Counts in letters"
    author = "a test"
    licence = "MIT"
    architecture = { name = "gru", config = { cell = "lstm", layers = 2, hidden = 16, embedding = 8, dropout = 0.2 } }
    preprocessing = { tokens = "characters" }
    data = { path = "text.txt", held_out = 0.1 }
    [fit]
    epochs = 10
    batch = 8
    optimiser = { method = "adamw", learning_rate = 0.01 }
    schedule = { kind = "one-cycle" }
    options = { sequence = 16 }
"#;

/// A directory with a recipe and its text.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("recipe.toml"), RECIPE).unwrap();
    let text: String = (0..12_000)
        .map(|i| if i % 27 == 26 { '\n' } else { char::from(b'a' + (i % 27) as u8) })
        .collect();
    std::fs::write(directory.path().join("text.txt"), text).unwrap();
    directory
}

fn train(directory: &Path, more: &[&str]) -> std::process::Command {
    let mut command = maas();
    command
        .current_dir(directory)
        .args(["train", "recipe.toml", "--out", "out", "--json"])
        .args(more);
    command
}

fn weights(directory: &Path) -> Vec<u8> {
    std::fs::read(directory.join("out/abc/1/weights.safetensors")).unwrap()
}

#[test]
fn a_killed_run_goes_on_to_the_weights_of_one_that_was_not() {
    let whole = directory();
    assert!(train(whole.path(), &[]).output().unwrap().status.success());

    let killed = directory();
    let mut run = train(killed.path(), &[]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    // Killed somewhere in its third epoch, with signal 9.
    lines.nth(1).unwrap().unwrap();
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(!killed.path().join("out/abc/1").exists());

    let refused = train(killed.path(), &[]).output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--resume"), "{refused:?}");

    let resumed = train(killed.path(), &["--resume"]).output().unwrap();
    assert!(resumed.status.success(), "{resumed:?}");
    assert_eq!(weights(killed.path()), weights(whole.path()));
    let kept: Vec<_> = std::fs::read_dir(killed.path().join("out/abc")).unwrap().collect();
    assert_eq!(kept.len(), 1, "the checkpoint goes when the package is there: {kept:?}");
}

#[test]
fn a_recipe_with_a_fault_is_refused_with_its_name() {
    for (from, to, named) in [
        ("epochs = 10", "epoch = 10", "epoch"),
        ("one-cycle", "two-cycle", "two-cycle"),
        ("learning_rate = 0.01", "learning_rate = 0.01, momentum = 0.9", "optimiser.momentum"),
        ("batch = 8", "batch = 0", "batch"),
        ("text.txt", "no.txt", "no.txt"),
    ] {
        let directory = directory();
        std::fs::write(directory.path().join("recipe.toml"), RECIPE.replace(from, to)).unwrap();
        let refused = train(directory.path(), &[]).output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains(named), "{to}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        assert!(!directory.path().join("out/abc/1").exists());
    }
}
