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
        .map(|i| if i % 27 == 26 { '\n' } else { char::from(b'a' + u8::try_from(i % 27).unwrap()) })
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
    // Somewhere in its third epoch.
    self::killed(killed.path(), 2, &[]);
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

/// Trains until so many epochs are told, and kills the run with signal 9.
fn killed(directory: &Path, epochs: usize, more: &[&str]) {
    let mut run = train(directory, more).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines();
    lines.nth(epochs - 1).unwrap().unwrap();
    run.kill().unwrap();
    run.wait().unwrap();
}

/// As a shell starts it that ran `before`.
fn after(directory: &Path, before: &str, more: &[&str]) -> std::process::Output {
    let program = maas().get_program().to_owned();
    let mut command = std::process::Command::new("sh");
    command.current_dir(directory).args(["-c", &format!("{before}; exec \"$0\" \"$@\"")]);
    command.arg(program).args(["train", "recipe.toml", "--out", "out", "--json"]).args(more);
    command.output().unwrap()
}

#[test]
fn a_full_disk_costs_no_checkpoint() {
    let directory = directory();
    killed(directory.path(), 2, &[]);
    let path = directory.path().join("out/abc/.1.checkpoint");
    let last = std::fs::read(&path).unwrap();
    // A file may have 512 or 1024 bytes, depending on the shell: less than a checkpoint in any case.
    let full = after(directory.path(), "trap '' XFSZ; ulimit -f 1", &["--resume"]);
    let said = String::from_utf8_lossy(&full.stderr);
    assert!(!full.status.success() && said.contains(".1.checkpoint"), "{said}");
    assert!(said.contains("cannot be written") && !said.contains("panicked"), "{said}");
    assert_eq!(std::fs::read(&path).unwrap(), last);
    assert!(train(directory.path(), &["--resume"]).output().unwrap().status.success());
}

#[test]
fn a_run_goes_on_where_nobody_reads_what_it_says() {
    let (closed, broken) = (directory(), directory());
    let told = after(closed.path(), "exec >&-", &["--epochs", "3"]);
    assert!(told.status.success(), "{told:?}");
    let mut run = train(broken.path(), &["--epochs", "3"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(run.stdout.take());
    let told = run.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{said}");
    assert_eq!(said.matches("standard output").count(), 1, "{said}");
}

#[test]
fn a_version_has_one_run_at_a_time() {
    let directory = directory();
    let mut first = train(directory.path(), &["--epochs", "1000"]);
    let mut first = first.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(first.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    let second = train(directory.path(), &["--resume"]).output().unwrap();
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && said.contains("another run makes this version"), "{said}");
    first.kill().unwrap();
    first.wait().unwrap();
    let resumed = train(directory.path(), &["--resume"]).output().unwrap();
    let said = String::from_utf8_lossy(&resumed.stderr);
    assert!(said.contains("number of epochs"), "the lock goes with its process: {said}");
}

#[test]
fn a_resumed_runs_events_are_those_of_one_that_was_not_cut_off() {
    let events = ["--events", "events.csv"];
    let read = |directory: &Path| std::fs::read_to_string(directory.join("events.csv")).unwrap();
    let whole = directory();
    assert!(train(whole.path(), &events).output().unwrap().status.success());
    let cut = directory();
    killed(cut.path(), 2, &events);
    // Refused, it changes nothing.
    let before = read(cut.path());
    assert!(!train(cut.path(), &events).output().unwrap().status.success());
    assert_eq!(read(cut.path()), before);
    let resumed = train(cut.path(), &[&events[..], &["--resume"]].concat()).output().unwrap();
    assert!(resumed.status.success(), "{resumed:?}");
    assert_eq!(read(cut.path()), read(whole.path()));
}

#[test]
fn a_recipe_with_a_fault_is_refused_with_its_name() {
    for (from, to, named) in [
        ("text-generation", "image-classification", "recipe.toml: task: expected text-generation"),
        ("epochs = 10", "epochs = 10\n patience = -1", "patience"),
        ("sequence = 16", "sequenze = 16", "recipe.toml, line 11: fit.options: "),
        ("dropout = 0.2", "dropout = 2.0", "recipe.toml: architecture.config: dropout"),
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

    assert!(!String::from_utf8_lossy(&tuned.stderr).contains("fresh"), "{tuned:?}");

    // Another alphabet: the tensors that speak of it are fresh, the rest is the parent's.
    let text = std::fs::read_to_string(at.join("text.txt")).unwrap().replace('z', "!");
    std::fs::write(at.join("text.txt"), text).unwrap();
    let other = child("other", "abc@1", &["--freeze", "rnn.", "--seed", "5"]);
    assert!(other.status.success(), "{other:?}");
    let told = "the parent's: embedding.weight, head.bias, head.weight";
    assert!(String::from_utf8_lossy(&other.stderr).contains(told), "{other:?}");
    let kept = "rnn.weight_hh_l1";
    assert_eq!(tensor(at, "other", kept), tensor(at, "out", kept));
    assert_ne!(tensor(at, "other", "embedding.weight"), tensor(at, "out", "embedding.weight"));

    for (from, more, named) in [
        ("abc@1", &["--freeze", "layer.7"][..], "rnn.weight_ih_l0"),
        ("abc@1", &["--freeze", "rnn.weight_ih"], "up to a dot"),
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
