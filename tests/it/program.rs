//! The program as an operator meets it: started, asked, stopped.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

fn maas(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_maas"));
    // Another folder than the repository's: its config/maas.toml is not read.
    command.args(arguments).current_dir(std::env::temp_dir()).env_clear();
    command
}

fn said(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Killed when a test fails before it has stopped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server on free ports with an empty store, and the address of its main listener.
fn started(state: &Path) -> (Server, String) {
    let (store, state) =
        (format!("--store={}", state.display()), format!("--state={}", state.display()));
    let free = ["--http=127.0.0.1:0", "--admin=127.0.0.1:0", "--log-format=json", &store, &state];
    let child = maas(&free).arg("--drain-grace-ms=0").stderr(Stdio::piped()).spawn().unwrap();
    let mut server = Server(child);
    let lines = BufReader::new(server.0.stderr.as_mut().unwrap()).lines();
    let address = lines
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
        .find(|line| line["message"] == "listening")
        .and_then(|line| line["http"].as_str().map(ToOwned::to_owned));
    (server, address.unwrap())
}

fn signal(server: &Server, name: &str) {
    let id = server.0.id().to_string();
    assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
}

#[test]
fn plain_maas_serves_until_it_is_told_to_stop() {
    let state = tempfile::tempdir().unwrap();
    for name in ["-TERM", "-INT"] {
        let (mut server, address) = started(state.path());
        let url = format!("http://{address}");
        assert_eq!(said(&maas(&["health", &url]).output().unwrap()), (Some(0), String::new()));
        signal(&server, name);
        assert_eq!(server.0.wait().unwrap().code(), Some(0), "{name}");
        let (code, text) = said(&maas(&["health", &url]).output().unwrap());
        assert!(code == Some(1) && text.contains("onnection refused"), "{text}");
    }
}

#[test]
fn a_start_that_cannot_go_well_is_refused_with_every_reason() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().to_str().unwrap();
    for (arguments, reasons) in [
        (&["--http=0.0.0.0:0", "--store", path, "--state", path][..], &["no key exists"][..]),
        (&["--http=x", "serve"], &["cannot be used with"]),
        (
            &["serve", "--http=x", "--engine-workers=many"],
            &["--http: expected", "--engine-workers: expected"],
        ),
        (&["serve", "--config=missing.toml"], &["missing.toml"]),
        (&["serve", "--store=missing", "--state", path], &["--store", "missing"]),
    ] {
        let (code, text) = said(&maas(arguments).output().unwrap());
        assert!(matches!(code, Some(1 | 2)), "{arguments:?}: {code:?}");
        assert!(reasons.iter().all(|reason| text.contains(reason)), "{arguments:?}: {text}");
    }
}
