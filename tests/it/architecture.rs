//! The arrows of ARCHITECTURE.md, held to: what a layer may import, and which words only one of them
//! may say. Reads the sources as text, so that it needs no tool.

use std::fs;
use std::path::Path;

/// Each module and what it may import.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("engine", &["domain"]),
    ("compute", &["domain"]),
    ("media", &["domain"]),
    ("plot", &[]),
    ("dataset", &["domain", "media", "package"]),
    ("package", &["domain"]),
    ("checkpoint", &["domain"]),
    ("arch", &["domain", "engine", "compute", "media", "plot", "dataset", "package", "checkpoint"]),
    ("state", &["domain"]),
    ("access", &["domain"]),
    ("config", &["domain"]),
    ("registry", &["domain", "engine", "compute", "package", "arch", "state"]),
    ("oip", &["domain", "engine", "registry"]),
    ("telemetry", &["domain", "engine", "registry", "config"]),
    ("grpc", &["domain", "engine", "registry", "oip", "access", "telemetry", "http"]),
    ("http", &["domain", "engine", "registry", "oip", "state", "access", "telemetry", "config"]),
    ("client", &[]),
    ("load", &["domain", "media", "plot", "package", "arch"]),
    (
        "cli",
        &[
            "domain",
            "engine",
            "compute",
            "package",
            "arch",
            "state",
            "access",
            "telemetry",
            "config",
            "registry",
            "client",
            "grpc",
            "http",
            "load",
        ],
    ),
];

/// Words that only these places may say.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("candle_core", &["compute/", "arch/"]),
    ("candle_nn", &["compute/", "arch/"]),
    ("axum", &["http/", "grpc/"]),
    ("tonic", &["grpc/"]),
    ("utoipa", &["http/", "oip/"]),
    ("hyper", &["http/", "load/"]),
    ("StatusCode", &["http/"]),
    ("reqwest", &["client/"]),
    ("rusqlite", &["state/"]),
    ("tiny_skia", &["plot/"]),
    ("ttf_parser", &["plot/"]),
    ("feature = \"cuda\"", &["compute/device.rs"]),
    ("std::env", &["config/"]),
    ("unsafe", &["compute/kernels/", "compute/memory.rs", "config/threads.rs"]),
];

/// Words that these places never say.
const NEVER_IN: &[(&str, &[&str])] = &[(
    "async",
    &[
        "domain/",
        "compute/",
        "media/",
        "plot/",
        "dataset/",
        "package/",
        "checkpoint/",
        "arch/",
        "state/",
    ],
)];

/// All that `domain` knows of the world beside `std`.
const CRATES_OF_DOMAIN: &[&str] = &["serde", "thiserror", "bytes"];

/// One file below src/, without its tests and comments: what is built and run.
struct Source {
    /// Below src/: `config/load.rs`.
    path: String,
    lines: Vec<String>,
}

impl Source {
    fn new(path: String, text: &str) -> Self {
        let lines = text.lines().collect::<Vec<_>>();
        let tests = lines.windows(2).position(|pair| {
            pair[0].starts_with("#[cfg(") && pair[0].contains("test") && pair[1].ends_with('{')
        });
        let code = lines.iter().take(tests.unwrap_or(lines.len()));
        Self { path, lines: code.map(|line| without_comment(line).to_owned()).collect() }
    }

    fn module(&self) -> &str {
        self.path.split('/').next().unwrap_or_default()
    }

    fn lies_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }

    /// `file:line: what` for each line that `wrong` has something to say of.
    fn faults(&self, wrong: impl Fn(&str) -> Option<String>) -> Vec<String> {
        let fault = |(number, line): (usize, &String)| {
            wrong(line).map(|what| format!("src/{}:{}: {what}", self.path, number + 1))
        };
        self.lines.iter().enumerate().filter_map(fault).collect()
    }
}

fn without_comment(line: &str) -> &str {
    // `://` begins no comment: it is part of a URL in a text.
    let comment = line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':'));
    comment.map_or(line, |(at, _)| &line[..at])
}

/// The places where `word` stands in `line` as a whole word.
fn says(line: &str, word: &str) -> bool {
    let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        !part(line[..at].chars().next_back()) && !part(line[at + word.len()..].chars().next())
    })
}

/// The modules that `line` names after `crate::`.
fn imports(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").map(|(at, path)| {
        let rest = &line[at + path.len()..];
        rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default()
    })
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut sources) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("tests.rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                sources.push(Source::new(name, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    sources
}

/// The crates that Cargo.toml names, as Rust does.
fn dependencies() -> Vec<String> {
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    manifest
        .lines()
        .skip_while(|line| *line != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name.replace('-', "_"))
        .collect()
}

fn faults(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources {
        faults.extend(source.faults(|line| wrong_import(source.module(), line)));
        for (word, places) in ONLY_IN.iter().filter(|(_, places)| !source.lies_in(places)) {
            let what = || format!("`{word}` is said only in {}", places.join(", "));
            faults.extend(source.faults(|line| says(line, word).then(what)));
        }
        for (word, _) in NEVER_IN.iter().filter(|(_, places)| source.lies_in(places)) {
            let what = || format!("`{word}` is never said in {}", source.module());
            faults.extend(source.faults(|line| says(line, word).then(what)));
        }
    }
    faults
}

fn wrong_import(module: &str, line: &str) -> Option<String> {
    // lib.rs and main.rs are above every arrow.
    if module.contains('.') {
        return None;
    }
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == module) else {
        return Some(format!("`{module}` has no row in ARROWS"));
    };
    imports(line)
        .find(|name| *name != module && !allowed.contains(name))
        .map(|name| format!("`{module}` may not import `{name}`: only {}", allowed.join(", ")))
}

#[test]
fn every_layer_keeps_to_its_arrows_and_words() {
    let sources = sources();
    assert!(sources.len() > 40, "only {} sources were found", sources.len());
    let faults = faults(&sources);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_domain_knows_no_crate_but_its_three() {
    let dependencies = dependencies();
    assert!(dependencies.contains(&"candle_core".to_owned()));
    for source in sources().iter().filter(|source| source.module() == "domain") {
        for name in dependencies.iter().filter(|name| !CRATES_OF_DOMAIN.contains(&name.as_str())) {
            let path = format!("{name}::");
            let named = |line: &str| says(line, name) && line.contains(&path);
            let faults = source.faults(|line| named(line).then(|| format!("names `{name}`")));
            assert!(faults.is_empty(), "{}", faults.join("\n"));
        }
    }
}

#[test]
fn a_wrong_line_is_found_with_its_file_and_number() {
    let found = |path: &str, text: &str| faults(&[Source::new(path.to_owned(), text)]);
    for (path, text, fault) in [
        (
            "engine/x.rs",
            "\nuse crate::http::Y;",
            "src/engine/x.rs:2: `engine` may not import `http`",
        ),
        (
            "engine/x.rs",
            "use crate::{domain, http};",
            "src/engine/x.rs:1: `engine` may not import ``",
        ),
        ("new/x.rs", "fn x() {}", "src/new/x.rs:1: `new` has no row in ARROWS"),
        ("state/x.rs", "async fn x() {}", "src/state/x.rs:1: `async` is never said in state"),
        ("cli/x.rs", "std::env::var(x)", "src/cli/x.rs:1: `std::env` is said only in config/"),
        ("lib.rs", "unsafe {}", "src/lib.rs:1: `unsafe` is said only in compute/kernels/"),
    ] {
        let faults = found(path, text);
        assert!(faults[0].starts_with(fault), "{faults:?}");
    }
    let tests =
        "use crate::domain::X; // rusqlite\n#[cfg(test)]\nmod tests {\n    use rusqlite::Y;";
    assert_eq!(found("engine/x.rs", tests), Vec::<String>::new());
    let module = "#[cfg(test)]\nmod tests;\nuse rusqlite::Y;";
    assert_eq!(found("engine/mod.rs", module).len(), 1);
}
