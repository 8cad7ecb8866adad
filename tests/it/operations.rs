//! Probes, keys, settings and an orderly end.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use reqwest::StatusCode;

use crate::support::{Server, answer, maas, models};

#[tokio::test]
async fn sigterm_drains_and_no_request_is_lost() {
    let server = Server::start(&models(), &["--drain-grace-ms=6000", "--drain-timeout-ms=60000"]);
    server.settled().await;
    let path = "/v1/predict/kjv?max_tokens=400&temperature=0.5";
    let long = tokio::spawn(server.post(path).body("And it came to pass").send());
    while in_flight(&server).await == 0.0 && !long.is_finished() {
        tokio::task::yield_now().await;
    }
    server.signal("TERM");
    server.until("/readyz", StatusCode::SERVICE_UNAVAILABLE).await;
    assert_eq!(server.get("/livez").send().await.unwrap().status(), StatusCode::OK);
    // Still serving while load balancers look away; connections are not kept.
    let late = server.predict("fashion", "fashion/1/golden/boot.png").await;
    assert_eq!(late.headers()["connection"], "close");
    answer(late).await;
    let long = long.await.unwrap().unwrap();
    assert_eq!(answer(long).await["completion_tokens"], 400);
    assert!(server.end().await.success());
}

/// Predictions that are being answered.
async fn in_flight(server: &Server) -> f64 {
    let text = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    let line = text.lines().find(|line| line.starts_with("maas_inflight_requests ")).unwrap();
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn administration_needs_the_key_that_the_first_start_wrote() {
    let server = Server::shipped().await;
    let file = server.state.path().join("admin.key");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let key = std::fs::read_to_string(file).unwrap().trim().to_owned();
    let drain = || server.client.post(format!("{}/v1/admin/drain", server.admin));

    let refused = drain().send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(refused.headers().contains_key("www-authenticate"));
    let refused = drain().bearer_auth("wrong").send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    // Administration has its own listener.
    let elsewhere = server.post("/v1/admin/drain").bearer_auth(&key).send().await.unwrap();
    assert_eq!(elsewhere.status(), StatusCode::NOT_FOUND);

    answer(drain().bearer_auth(&key).send().await.unwrap()).await;
    server.until("/readyz", StatusCode::SERVICE_UNAVAILABLE).await;
    answer(server.predict("fashion", "fashion/1/golden/boot.png").await).await;
    let undo = server.client.delete(format!("{}/v1/admin/drain", server.admin));
    answer(undo.bearer_auth(&key).send().await.unwrap()).await;
    server.until("/readyz", StatusCode::OK).await;
}

#[tokio::test]
async fn with_a_keys_file_inference_needs_a_key() {
    let made = maas().args(["key", "new", "--scopes", "inference"]).output().unwrap();
    let line = String::from_utf8(made.stdout).unwrap();
    let shown = String::from_utf8(made.stderr).unwrap();
    let secret = shown
        .split_whitespace()
        .find(|word| maas::package::sha256(word.as_bytes()).to_string() == line[..64])
        .expect("the key whose digest is in the line");
    let keys = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(keys.path(), format!("# keys\n{line}")).unwrap();
    let server = Server::start(&models(), &[&format!("--keys={}", keys.path().display())]);
    server.settled().await;

    let without = server.predict("fashion", "fashion/1/golden/boot.png").await;
    assert_eq!(without.status(), StatusCode::UNAUTHORIZED);
    let list = || server.get("/v1/models");
    answer(list().bearer_auth(secret).send().await.unwrap()).await;
    let metrics = server.get("/metrics").bearer_auth(secret).send().await.unwrap();
    assert_eq!(metrics.status(), StatusCode::FORBIDDEN);
    // Probes never need one.
    assert_eq!(server.get("/livez").send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn metrics_count_what_happened() {
    let server = Server::shipped().await;
    answer(server.predict("fashion", "fashion/1/golden/boot.png").await).await;
    server.post("/v1/predict/fashion?top_k=0").body("x").send().await.unwrap();
    let text = server.get("/metrics").send().await.unwrap().text().await.unwrap();
    for line in [
        r#"maas_requests_total{model="fashion",version="1",outcome="ok"} 1"#,
        r#"maas_requests_total{model="fashion",version="1",outcome="invalid"} 1"#,
        r#"maas_rows_total{model="fashion",version="1"} 1"#,
    ] {
        assert!(text.lines().any(|got| got == line), "no {line} in\n{text}");
    }
}

#[test]
fn a_start_that_cannot_go_well_is_refused_with_every_reason() {
    let state = tempfile::TempDir::new().unwrap();
    let path = state.path().to_str().unwrap();
    for (arguments, reasons) in [
        (&["--http=0.0.0.0:0", "--store", path, "--state", path][..], &["--insecure"][..]),
        (&["--http=x", "serve"], &["cannot be used with"]),
        (
            &["serve", "--http=x", "--device=cuda:x", "--engine-workers=many"],
            &[
                "--http: expected",
                "--device: expected",
                "--engine-workers: expected",
                "MAAS_COLOUR",
            ],
        ),
        (&["serve", "--config=missing.toml"], &["missing.toml"]),
        (&["serve", "--store=missing", "--state", path], &["--store", "missing"]),
    ] {
        let mut command = maas();
        if reasons.contains(&"MAAS_COLOUR") {
            command.env("MAAS_COLOUR", "red");
        }
        let output = command.args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(reasons.iter().all(|reason| said.contains(reason)), "{arguments:?}: {said}");
    }
}

#[test]
fn config_check_finds_what_serve_would_refuse() {
    let check = |arguments: &[&str]| {
        let output = maas().args(["config", "check"]).args(arguments).output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    assert!(check(&[]).0);
    let (good, said) = check(&["--log-filter=maas=loud", "--http=0.0.0.0:80"]);
    assert!(!good && said.contains("maas=loud") && said.contains("--insecure"), "{said}");
}

#[tokio::test]
async fn an_address_in_use_is_told_and_health_asks_the_one_that_has_it() {
    let server = Server::shipped().await;
    let address = server.http.strip_prefix("http://").unwrap();
    let state = tempfile::TempDir::new().unwrap();
    let output = maas()
        .args(["serve", &format!("--http={address}"), "--admin=127.0.0.1:0", "--grpc=127.0.0.1:0"])
        .arg(format!("--store={}", models().display()))
        .arg(format!("--state={}", state.path().display()))
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains(address));
    let health = maas().args(["health", &format!("--http={address}")]).status().unwrap();
    assert!(health.success());
    server.signal("KILL");
    tokio::time::timeout(Duration::from_secs(10), async {
        while server.get("/livez").send().await.is_ok() {}
    })
    .await
    .unwrap();
    let health = maas().args(["health", &format!("--http={address}")]).status().unwrap();
    assert!(!health.success());
}
