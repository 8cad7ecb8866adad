//! Speech to text by the protocol of OpenAI's clients, on the shipped model.

use reqwest::{Response, StatusCode};
use serde_json::Value;

use crate::support::{Server, models};

const BOUNDARY: &str = "maas-test-boundary";

/// A form as clients write it: the sound, and these fields.
fn form(sound: &[u8], fields: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let head = format!("content-disposition: form-data; name=\"{name}\"");
        body.extend(format!("--{BOUNDARY}\r\n{head}\r\n\r\n{value}\r\n").bytes());
    }
    let head = "content-disposition: form-data; name=\"file\"; filename=\"code.wav\"";
    body.extend(format!("--{BOUNDARY}\r\n{head}\r\n\r\n").bytes());
    body.extend(sound);
    body.extend(format!("\r\n--{BOUNDARY}--\r\n").bytes());
    body
}

async fn ask(server: &Server, sound: &[u8], fields: &[(&str, &str)]) -> Response {
    let fields = [&[("model", "digits")], fields].concat();
    let request = server.post("/v1/audio/transcriptions").body(form(sound, &fields));
    let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
    request.header("content-type", content_type).send().await.unwrap()
}

async fn text(server: &Server, sound: &[u8], fields: &[(&str, &str)]) -> String {
    let got = ask(server, sound, fields).await;
    assert_eq!(got.status(), StatusCode::OK, "{fields:?}");
    got.text().await.unwrap()
}

async fn json(server: &Server, sound: &[u8], fields: &[(&str, &str)]) -> Value {
    serde_json::from_str(&text(server, sound, fields).await).unwrap()
}

/// 16-bit mono WAV of silence at 16 kHz.
fn silence(samples: u32) -> Vec<u8> {
    let length = samples * 2;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + length).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data");
    file.extend(length.to_le_bytes());
    file.resize(file.len() + length as usize, 0);
    file
}

const VERBOSE: (&str, &str) = ("response_format", "verbose_json");
const WORDS: (&str, &str) = ("timestamp_granularities[]", "word");
const SEGMENTS: (&str, &str) = ("timestamp_granularities[]", "segment");

#[tokio::test]
async fn a_spoken_code_is_written_in_every_format() {
    let server = Server::shipped().await;
    let code = std::fs::read(models().join("digits/1/golden/code.wav")).unwrap();
    let native = server.predict("digits", "digits/1/golden/code.wav").await.text().await.unwrap();
    let native: Value = serde_json::from_str(&native).unwrap();
    assert!(native.get("segments").is_none() && !native["text"].as_str().unwrap().is_empty());

    let short = json(&server, &code, &[]).await;
    assert_eq!(short["text"], native["text"]);
    assert_eq!(short["usage"]["seconds"], native["duration"]);
    let said = native["text"].as_str().unwrap();
    assert_eq!(text(&server, &code, &[("response_format", "text")]).await, format!("{said}\n"));

    let verbose = json(&server, &code, &[VERBOSE, WORDS, SEGMENTS]).await;
    assert_eq!((&verbose["text"], &verbose["words"]), (&native["text"], &native["words"]));
    assert_eq!((&verbose["task"], &verbose["language"]), (&"transcribe".into(), &"und".into()));
    let segments = verbose["segments"].as_array().unwrap();
    let joined: Vec<&str> = segments.iter().map(|s| s["text"].as_str().unwrap()).collect();
    assert_eq!(joined.join(" "), said);
    let mut end = 0.0;
    for (at, segment) in segments.iter().enumerate() {
        let number = |name: &str| segment[name].as_f64().unwrap();
        assert_eq!(segment["id"], at);
        assert!(end <= number("start") && number("start") < number("end"), "{segment}");
        end = number("end");
        // A character of the path for each of the text.
        let characters = segment["text"].as_str().unwrap().len();
        assert_eq!(segment["tokens"].as_array().unwrap().len(), characters, "{segment}");
        assert!((-1.0..=0.0).contains(&number("avg_logprob")), "{segment}");
        assert!((0.0..1.0).contains(&number("no_speech_prob")), "{segment}");
        assert!(number("compression_ratio") > 0.4 && number("temperature") == 0.0, "{segment}");
    }
    assert!(end <= verbose["duration"].as_f64().unwrap());

    let srt = text(&server, &code, &[("response_format", "srt")]).await;
    assert!(srt.starts_with("1\n00:00:0") && srt.matches(" --> ").count() == segments.len());
    let vtt = text(&server, &code, &[("response_format", "vtt")]).await;
    assert!(vtt.starts_with("WEBVTT\n\n00:00:0") && vtt.contains(joined[0]), "{vtt}");
    let stream = text(&server, &code, &[("stream", "true")]).await;
    let deltas = stream.matches("transcript.text.delta").count();
    assert!(deltas == segments.len() && stream.matches("transcript.text.done").count() == 1);
}

#[tokio::test]
async fn silence_says_nothing_and_what_is_not_honoured_is_refused() {
    let server = Server::shipped().await;
    let nothing = json(&server, &silence(16_000), &[VERBOSE, WORDS, SEGMENTS]).await;
    let empty = Value::Array(Vec::new());
    assert_eq!((&nothing["text"], &nothing["duration"]), (&"".into(), &1.0.into()));
    assert_eq!((&nothing["segments"], &nothing["words"]), (&empty, &empty));
    let srt = text(&server, &silence(16_000), &[("response_format", "srt")]).await;
    assert_eq!(srt, "");

    let refused = async |sound: &[u8], fields: &[(&str, &str)], status: u16, param: &str| {
        let got = ask(&server, sound, fields).await;
        assert_eq!(got.status(), status, "{fields:?}");
        let body: Value = serde_json::from_str(&got.text().await.unwrap()).unwrap();
        assert_eq!(body["error"]["param"], param, "{body}");
    };
    refused(&silence(800), &[("language", "en")], 400, "language").await;
    refused(&silence(800), &[("prompt", "one two")], 400, "prompt").await;
    refused(&silence(800), &[("temperature", "0.2")], 400, "temperature").await;
    refused(b"RIFFnothing", &[], 415, "file").await;
    refused(&silence(800)[..40], &[], 422, "file").await;
}
