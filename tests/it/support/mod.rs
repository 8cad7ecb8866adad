//! The real program on free ports, with a store of its own.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take here: a dev build on a busy machine is slow.
const PATIENCE: Duration = Duration::from_mins(2);

/// A server that runs until it is dropped.
pub struct Server {
    child: Child,
    pub http: String,
    pub admin: String,
    pub client: Client,
    pub state: TempDir,
}

impl Server {
    /// Starts with the shipped models and waits until it is ready.
    pub async fn shipped() -> Self {
        let server = Self::start(&models(), &[]);
        server.settled().await;
        server
    }

    /// Starts on `store`; does not wait.
    pub fn start(store: &Path, flags: &[&str]) -> Self {
        let state = TempDir::new().unwrap();
        // Without a verb: plain `maas` serves.
        let mut child = maas()
            .args([
                "--http=127.0.0.1:0",
                "--admin=127.0.0.1:0",
                "--grpc=127.0.0.1:0",
                "--log-format=json",
            ])
            .arg(format!("--store={}", store.display()))
            .arg(format!("--state={}", state.path().display()))
            .args(flags)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = child.stderr.take().unwrap();
        let (said, listening) = mpsc::channel();
        // Reads the log to its end: a full pipe would stop the server.
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                let line: Value = serde_json::from_str(&line).unwrap_or_default();
                if line["message"] == "listening" {
                    let _ = said.send((line["http"].clone(), line["admin"].clone()));
                }
            }
        });
        let (http, admin) = listening.recv_timeout(PATIENCE).expect("the server listens");
        let base = |address: Value| format!("http://{}", address.as_str().unwrap());
        Self { child, http: base(http), admin: base(admin), client: Client::new(), state }
    }

    /// Until every model has been tried.
    pub async fn settled(&self) {
        self.until("/startupz", StatusCode::OK).await;
    }

    /// Until a probe answers with `status`.
    pub async fn until(&self, probe: &str, status: StatusCode) {
        let end = Instant::now() + PATIENCE;
        loop {
            let answer = self.get(probe).send().await;
            if answer.is_ok_and(|answer| answer.status() == status) {
                return;
            }
            assert!(Instant::now() < end, "{probe} does not become {status}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.http))
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.http))
    }

    /// Sends a file of a package as curl does, without saying what it is.
    pub async fn predict(&self, path: &str, file: &str) -> Response {
        let body = std::fs::read(models().join(file)).unwrap();
        self.post(&format!("/v1/predict/{path}")).body(body).send().await.unwrap()
    }

    /// SIGTERM or another signal, by the system's own command.
    pub fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        // The shell's own: not every system has a program of that name.
        let command = format!("kill -s {name} {process}");
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    }

    /// Waits for the end.
    pub async fn end(mut self) -> ExitStatus {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "the server does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program, without the settings of whoever runs the tests.
pub fn maas() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_maas"));
    // In another folder than the repository's: its config/maas.toml is not read.
    command.env_clear().current_dir(std::env::temp_dir());
    command
}

/// The shipped store.
pub fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

/// A store with copies of the named packages.
pub fn copy(packages: &[&str]) -> TempDir {
    let store = TempDir::new().unwrap();
    for package in packages {
        copy_directory(&models().join(package), &store.path().join(package));
    }
    store
}

fn copy_directory(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The body of a success.
pub async fn answer(response: Response) -> Value {
    let status = response.status();
    let body: Value = response.json().await.unwrap();
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}
