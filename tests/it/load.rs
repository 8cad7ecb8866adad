//! `maas bench URL` against the real server.

use std::net::TcpListener;
use std::process::Output;

use serde_json::{Value, json};

use crate::support::{Server, maas, models};

fn bench(url: &str, flags: &[&str]) -> Output {
    let store = format!("--store={}", models().display());
    maas().args(["bench", url, "--json", "--warm-up=0s", &store]).args(flags).output().unwrap()
}

/// The rows of a load that succeeded.
fn rows(url: &str, flags: &[&str]) -> Vec<Value> {
    let output = bench(url, flags);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a load that is refused says.
fn refusal(url: &str, flags: &[&str]) -> String {
    let output = bench(url, flags);
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn the_real_server_answers_golden_samples_with_200() {
    let server = Server::shipped().await;
    let asked = ["--model=fashion", "--requests=150", "--concurrency=1,4"];
    for protocol in ["predict", "predict-json"] {
        let rows = rows(&server.http, &[&asked[..], &["--protocol", protocol]].concat());
        let clients: Vec<_> = rows.iter().map(|row| &row["concurrency"]).collect();
        assert_eq!(clients, [1, 4]);
        for row in &rows {
            assert_eq!(row["status"], json!({ "200": 150, "429": 0, "503": 0, "other": 0 }));
            assert_eq!((&row["loop"], &row["connection_errors"]), (&json!("closed"), &json!(0)));
            let order = ["min", "p50", "p90", "p99", "p999", "max"];
            let of = |name: &str| row["latency_ms"][name].as_f64().unwrap();
            assert!(order.windows(2).all(|pair| of(pair[0]) <= of(pair[1])), "{row}");
            assert!(row["goodput_per_s"].as_f64().unwrap() > 0.0, "{row}");
            assert!(row["bytes_sent"].as_u64() > Some(150 * 200), "{row}");
        }
    }
    let kjv = ["--model=kjv@1", "--requests=20", "--rate=200", "--params=max_tokens=4"];
    let row = &rows(&server.http, &[&kjv[..], &["--deadline-ms=60000"]].concat())[0];
    assert_eq!((&row["status"]["200"], &row["requests"]), (&json!(20), &json!(20)));
    assert_eq!((&row["loop"], &row["rate"]), (&json!("open"), &json!(200.0)));
}

#[tokio::test]
async fn a_path_is_asked_with_get_and_a_probe_runs_beside_the_load() {
    let server = Server::shipped().await;
    let svg = server.state.path().join("chart.svg");
    let draw = format!("--svg={}", svg.display());
    let url = format!("{}/livez", server.http);
    let flags =
        ["--rate=100,200", "--duration=1s", "--arrivals=constant", "--probe=/readyz", &draw];
    let rows = rows(&url, &flags);
    assert_eq!(rows.len(), 2);
    for (row, requests) in rows.iter().zip([100, 200]) {
        assert_eq!((&row["status"]["200"], &row["unsent"]), (&json!(requests), &json!(0)));
        assert_eq!(row["url"], json!(url));
        let probe = &row["probe"];
        assert_eq!((&probe["path"], &probe["requests"]), (&json!("/readyz"), &json!(20)));
        assert_eq!(probe["failed"], json!(0), "{probe}");
    }
    let chart = std::fs::read_to_string(svg).unwrap();
    assert!(chart.starts_with("<svg ") && chart.trim_end().ends_with("</svg>"), "{chart}");
    assert_eq!(chart.matches("<circle").count(), 4, "{chart}");
}

#[tokio::test]
async fn what_cannot_be_loaded_is_refused_with_what_was_expected() {
    let server = Server::shipped().await;
    let here = server.http.as_str();
    for (url, flags, said) in [
        ("http://8.8.8.8/livez", &[][..], "neither loopback nor private"),
        ("https://127.0.0.1/livez", &[], "expected http://HOST"),
        (here, &[], "expected --model NAME, or a path"),
        (here, &["--model=cat"], "holds no cat"),
        (here, &["--model=fashion", "--path=/livez"], "expected a URL without a path"),
        (here, &["--path=livez"], "expected /PATH"),
        (here, &["--path=/livez", "--rate=0"], "--rate: expected numbers above 0"),
        (here, &["--path=/livez", "--concurrency=0"], "--concurrency: expected numbers from 1"),
        (here, &["--path=/livez", "--duration=soon"], "expected a time such as 10s"),
        (here, &["--path=/livez", "--rate=1", "--concurrency=1"], "cannot be used with"),
        (here, &["--path=/livez", "--in-process"], "cannot be used with"),
        (here, &["--path=/nowhere"], "answered with 404, before there was any load"),
        ("fashion", &[], "a model's name with --in-process"),
    ] {
        let refusal = refusal(url, flags);
        assert!(refusal.contains(said), "{flags:?}: {refusal}");
    }
}

#[test]
fn a_server_that_is_not_there_is_said_to_be() {
    // Bound and dropped: nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refusal = refusal(&format!("http://{address}/livez"), &[]);
    assert!(refusal.contains(&format!("no connection to {address}")), "{refusal}");
}
