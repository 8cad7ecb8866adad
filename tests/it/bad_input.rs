//! Garbage gets a polite answer, and the server goes on.

use std::io::Write;

use reqwest::{RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{Server, answer, models};

/// Sends it and expects the status, the shape of every problem, and nothing internal in its texts.
async fn refused(what: &str, request: RequestBuilder, status: StatusCode) -> Value {
    let response = request.send().await.unwrap();
    let got = response.status();
    let media = response.headers().get("content-type").cloned();
    assert!(response.headers().contains_key("x-request-id"), "{what}");
    let text = response.text().await.unwrap();
    assert_eq!(got, status, "{what}: {text}");
    assert!(text.len() < 4096, "{what}: {} bytes", text.len());
    assert_eq!(media.unwrap(), "application/problem+json", "{what}");
    let problem: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(problem["status"], got.as_u16(), "{what}");
    for key in ["type", "title", "detail", "instance"] {
        assert!(problem[key].is_string(), "{what}: {key} in {problem}");
    }
    for leak in ["src/", "panicked", "candle", "serde", "symphonia", "Error("] {
        assert!(!text.contains(leak), "{what} tells of {leak}: {text}");
    }
    problem
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table: one row an input")]
async fn bad_input_is_told_apart_and_the_server_stays_healthy() {
    let server = Server::shipped().await;
    let json = |body: &str| {
        let request = server.post("/v1/predict/fashion").header("content-type", "application/json");
        request.body(body.to_owned())
    };
    let raw = |path: &str, media: &str, body: Vec<u8>| {
        server.post(path).header("content-type", media).body(body)
    };
    let fashion = "/v1/predict/fashion";
    let boot = std::fs::read(models().join("fashion/1/golden/boot.png")).unwrap();
    let code = std::fs::read(models().join("digits/1/golden/code.wav")).unwrap();
    let deep = format!("{{\"inputs\": {}", "[".repeat(1 << 20));
    let bad = StatusCode::BAD_REQUEST;
    let (media, mangled) = (StatusCode::UNSUPPORTED_MEDIA_TYPE, StatusCode::UNPROCESSABLE_ENTITY);
    let large = StatusCode::PAYLOAD_TOO_LARGE;

    for (what, request, status) in [
        ("malformed JSON", json("{\"inputs\": [1,"), bad),
        ("no JSON at all", json("hello"), bad),
        ("nothing to predict on", json("{}"), bad),
        ("an unknown key", json("{\"inputs\": [[0]], \"inptus\": 1}"), bad),
        ("a wrong shape", json("{\"inputs\": [[1, 2], [3, 4]]}"), bad),
        ("a ragged tensor", json("{\"inputs\": [[1, 2], [3]]}"), bad),
        ("a wrong type", json("{\"inputs\": [[\"a\"]]}"), bad),
        ("NaN", json("{\"inputs\": [[NaN]]}"), bad),
        ("a number beyond floats", json("{\"inputs\": [[1e999]]}"), bad),
        (
            "a shape that overflows",
            json("{\"inputs\": {\"shape\": [9223372036854775807, 4], \"data\": [1]}}"),
            large,
        ),
        ("a negative shape", json("{\"inputs\": {\"shape\": [-1, 4], \"data\": [1]}}"), bad),
        ("a megabyte of brackets", json(&deep), bad),
        ("an empty body", server.post(fashion), bad),
        (
            "a truncated picture",
            raw(fashion, "image/png", boot[..boot.len() / 2].to_vec()),
            mangled,
        ),
        ("sound as a picture", raw(fashion, "image/png", code.clone()), media),
        ("an unknown media type", raw(fashion, "video/mp4", vec![0; 64]), media),
        ("a picture of 60 000 x 60 000", raw(fashion, "image/png", huge_png()), large),
        ("truncated sound", raw("/v1/predict/digits", "audio/wav", code[..20].to_vec()), mangled),
        ("a picture as sound", raw("/v1/predict/digits", "audio/wav", boot.clone()), media),
        ("an hour of sound", raw("/v1/predict/digits", "audio/wav", hour_of_wav()), large),
        ("a picture as text", raw("/v1/predict/kjv", "image/png", boot.clone()), media),
        ("text that is not UTF-8", raw("/v1/predict/kjv", "text/plain", vec![0xff, 0xfe]), mangled),
        (
            "a character that the model never saw",
            raw("/v1/predict/kjv", "text/plain", "λόγος".into()),
            bad,
        ),
        (
            "an unknown parameter",
            raw(&format!("{fashion}?colour=red"), "image/png", boot.clone()),
            bad,
        ),
        (
            "a parameter out of range",
            raw(&format!("{fashion}?top_k=0"), "image/png", boot.clone()),
            bad,
        ),
        (
            "a deadline that is none",
            raw(fashion, "image/png", boot.clone()).header("x-deadline-ms", "soon"),
            bad,
        ),
        ("an unknown model", server.post("/v1/predict/nobody").body("x"), StatusCode::NOT_FOUND),
        (
            "an unknown version",
            server.post("/v1/predict/kjv/versions/9").body("x"),
            StatusCode::NOT_FOUND,
        ),
        (
            "a version of words",
            server.post("/v1/predict/kjv/versions/latest").body("x"),
            StatusCode::NOT_FOUND,
        ),
        (
            "a path that climbs",
            server.post("/v1/predict/%2e%2e%2fdata").body("x"),
            StatusCode::NOT_FOUND,
        ),
        ("no such path", server.get("/v3/nothing"), StatusCode::NOT_FOUND),
        ("the wrong method", server.get(fashion), StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let problem = refused(what, request, status).await;
        if let Some(fault) = problem["errors"].get(0) {
            for key in ["pointer", "expected", "got", "hint"] {
                assert!(fault[key].is_string(), "{what}: {key} in {problem}");
            }
        }
    }
    assert_eq!(server.get("/livez").send().await.unwrap().status(), StatusCode::OK);
    answer(server.predict("fashion", "fashion/1/golden/boot.png").await).await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let server = Server::start(&models(), &["--limits-body-bytes-max=1000"]);
    server.settled().await;
    let what = "a body over the limit";
    let request = server.post("/v1/predict/fashion").body(vec![0_u8; 100_000]);
    refused(what, request, StatusCode::PAYLOAD_TOO_LARGE).await;
}

#[tokio::test]
async fn a_problem_carries_an_example_that_works_for_this_model() {
    let server = Server::shipped().await;
    let request = server.post("/v1/predict/fashion?top_k=0").body("x");
    let problem = refused("top_k", request, StatusCode::BAD_REQUEST).await;
    assert_eq!(problem["errors"][0]["pointer"], json!("/query/top_k"));
    assert!(problem["example"].as_str().unwrap().contains("/v1/predict/fashion"));
}

#[tokio::test]
async fn bytes_that_are_no_http_end_the_connection_only() {
    let server = Server::shipped().await;
    let address = server.http.strip_prefix("http://").unwrap();
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    socket.write_all(b"\x16\x03\x01 garbage\r\n\r\n").await.unwrap();
    let mut answered = Vec::new();
    // Closed or reset: either is an end.
    let _ = socket.read_to_end(&mut answered).await;
    assert!(!answered.starts_with(b"HTTP/1.1 5"));
    assert_eq!(server.get("/livez").send().await.unwrap().status(), StatusCode::OK);
}

/// A PNG whose header claims 60 000 x 60 000, and nothing behind it.
fn huge_png() -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(60_000_u32.to_be_bytes());
    chunk.extend(60_000_u32.to_be_bytes());
    chunk.extend([8, 2, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    png.extend(13_u32.to_be_bytes());
    png.extend(&chunk);
    let mut crc = flate2::CrcWriter::new(Vec::new());
    crc.write_all(&chunk).unwrap();
    png.extend(crc.crc().sum().to_be_bytes());
    // The start of the pixels, so that the header is known to be over.
    png.extend(1_000_u32.to_be_bytes());
    png.extend(b"IDAT");
    png
}

/// A WAV whose header claims an hour at 8 kHz, with a second behind it.
fn hour_of_wav() -> Vec<u8> {
    let bytes: u32 = 3600 * 8000;
    let mut wav = b"RIFF".to_vec();
    wav.extend((bytes + 36).to_le_bytes());
    wav.extend(b"WAVEfmt ");
    wav.extend(16_u32.to_le_bytes());
    wav.extend([1, 0, 1, 0]); // PCM, mono
    wav.extend(8000_u32.to_le_bytes());
    wav.extend(8000_u32.to_le_bytes());
    wav.extend([1, 0, 8, 0]); // one byte a sample
    wav.extend(b"data");
    wav.extend(bytes.to_le_bytes());
    wav.extend(vec![128; 8000]);
    wav
}
