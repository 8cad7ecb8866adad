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
    let text: String = (0..27_u8)
        .cycle()
        .take(12_000)
        .map(|i| if i == 26 { '\n' } else { char::from(b'a' + i) })
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

/// The text of a package's manifest.
fn manifest(directory: &Path, out: &str) -> String {
    std::fs::read_to_string(directory.join(out).join("abc/1/manifest.toml")).unwrap()
}

fn tensor(directory: &Path, out: &str, name: &str) -> Vec<u8> {
    let bytes = std::fs::read(directory.join(out).join("abc/1/weights.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    file.tensor(name).unwrap().data().to_vec()
}

#[test]
fn a_run_goes_on_from_another_package_and_says_so() {
    let directory = directory();
    let at = directory.path();
    assert!(train(at, &["--epochs", "3"]).output().unwrap().status.success());
    let child = |out: &str, from: &str, more: &[&str]| {
        let from = ["--from", from, "--store", "out", "--epochs", "1", "--out", out];
        let mut command = maas();
        command.current_dir(at).args(["train", "recipe.toml"]).args(from).args(more);
        command.output().unwrap()
    };
    let tuned = child("tuned", "abc@1", &["--freeze", "rnn.weight_ih_l0", "--seed", "5"]);
    assert!(tuned.status.success(), "{tuned:?}");
    let frozen = "rnn.weight_ih_l0";
    assert_eq!(tensor(at, "tuned", frozen), tensor(at, "out", frozen));
    assert_ne!(tensor(at, "tuned", "head.weight"), tensor(at, "out", "head.weight"));
    let parent = maas().current_dir(at).args(["check", "out/abc/1"]).output().unwrap();
    let parent = String::from_utf8_lossy(&parent.stdout).into_owned();
    let said = manifest(at, "tuned");
    let digest = said.lines().find_map(|line| line.strip_prefix("parent = ")).unwrap();
    assert!(parent.contains(digest.trim_matches('"')), "{digest}: {parent}");

    // Another alphabet: the tensors that speak of it are fresh, the rest is the parent's.
    let text = std::fs::read_to_string(at.join("text.txt")).unwrap().replace('z', "!");
    std::fs::write(at.join("text.txt"), text).unwrap();
    let other = child("other", "abc@1", &["--freeze", "rnn.", "--seed", "5"]);
    assert!(other.status.success(), "{other:?}");
    let kept = "rnn.weight_hh_l1";
    assert_eq!(tensor(at, "other", kept), tensor(at, "out", kept));
    assert_ne!(tensor(at, "other", "embedding.weight"), tensor(at, "out", "embedding.weight"));

    for (from, more, named) in [
        ("abc@1", &["--freeze", "layer.7"][..], "rnn.weight_ih_l0"),
        ("abc", &[], "MODEL@VERSION"),
        ("abc@9", &[], "abc/9"),
    ] {
        let refused = child("refused", from, more);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains(named), "{more:?}: {said}");
    }
    let wider = RECIPE.replace("hidden = 16", "hidden = 17");
    std::fs::write(at.join("recipe.toml"), wider).unwrap();
    let said = child("refused", "abc@1", &[]);
    assert!(
        String::from_utf8_lossy(&said.stderr).contains("another than the recipe's"),
        "{said:?}"
    );
}
