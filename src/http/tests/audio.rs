//! Speech to text as OpenAI's clients ask for it.

use serde_json::{Value, json};

use super::events;
use crate::http::testing::{Got, Server};

const PATH: &str = "/v1/audio/transcriptions";
const TRANSLATIONS: &str = "/v1/audio/translations";
const FORM: &str = "multipart/form-data; boundary=b";

/// What the model of the tests hears where nothing is asked but the text.
const PLAIN: &str = "one None None None None";

/// A form with a file, `model=hears` and these fields.
fn form(fields: &[(&str, &str)]) -> String {
    let fields = [("file", "RIFF"), ("model", "hears")].iter().chain(fields);
    raw(&fields.copied().collect::<Vec<_>>())
}

fn raw(fields: &[(&str, &str)]) -> String {
    let part = |&(name, value): &(&str, &str)| {
        let file =
            if name == "file" { "; filename=\"a.wav\"\r\ncontent-type: audio/wav" } else { "" };
        format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"{file}\r\n\r\n{value}\r\n")
    };
    format!("{}--b--\r\n", fields.iter().map(part).collect::<String>())
}

async fn asked(server: &Server, fields: &[(&str, &str)]) -> Got {
    let got = server.post(PATH, FORM, form(fields)).await;
    assert_eq!(got.status, 200, "{got:?}");
    got
}

#[tokio::test]
async fn every_format_has_its_form_and_its_media_type() {
    let server = Server::new();
    let got = asked(&server, &[]).await;
    let usage = json!({"type": "duration", "seconds": 2.5});
    assert_eq!(got.value(), json!({"text": PLAIN, "usage": usage}));
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!((got.header("x-model"), got.header("x-model-version")), ("hears", "3"));
    assert!(got.header("server-timing").starts_with("queue;dur="));

    let got = asked(&server, &[("response_format", "text")]).await;
    assert_eq!(got.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(got.text, format!("{PLAIN}\n"));

    let timed = "Some(\"segment\") None None None";
    let got = asked(&server, &[("response_format", "srt")]).await;
    assert_eq!(got.header("content-type"), "application/x-subrip; charset=utf-8");
    let expected = format!(
        "1\n00:00:00,500 --> 00:00:01,000\none\n\n2\n00:00:01,500 --> 00:00:02,250\n{timed}\n\n"
    );
    assert_eq!(got.text, expected);

    let got = asked(&server, &[("response_format", "vtt")]).await;
    assert_eq!(got.header("content-type"), "text/vtt; charset=utf-8");
    let expected = format!(
        "WEBVTT\n\n00:00:00.500 --> 00:00:01.000\none\n\n00:00:01.500 --> 00:00:02.250\n{timed}\n\n"
    );
    assert_eq!(got.text, expected);

    let got = asked(&server, &[("response_format", "verbose_json")]).await;
    let segment = |id: u64, start: f64, end: f64, text: &str| {
        json!({"id": id, "seek": 150, "start": start, "end": end, "text": text, "tokens": [7, 9],
               "temperature": 0.5, "avg_logprob": -0.25, "compression_ratio": 0.75,
               "no_speech_prob": 0.125})
    };
    let expected = json!({
        "task": "transcribe", "language": "und", "duration": 2.5,
        "text": format!("one {timed}"),
        "segments": [segment(0, 0.5, 1.0, "one"), segment(1, 1.5, 2.25, timed)],
        "usage": usage,
    });
    assert_eq!(got.value(), expected);
}

#[tokio::test]
async fn times_are_those_of_the_granularities() {
    let server = Server::new();
    let verbose = ("response_format", "verbose_json");
    let (word, segment) = (("timestamp_granularities[]", "word"), "timestamp_granularities");
    let words = json!([{"word": "one", "start": 0.5, "end": 1.0, "confidence": 0.875}]);
    let value = asked(&server, &[verbose, word]).await.value();
    assert_eq!((&value["words"], &value["segments"]), (&words, &Value::Null));
    assert!(value["text"].as_str().unwrap().contains("word"));
    let value = asked(&server, &[verbose, word, (segment, "segment")]).await.value();
    assert_eq!((&value["words"], value["segments"].as_array().unwrap().len()), (&words, 2));
    let value = asked(&server, &[verbose, (segment, "segment")]).await.value();
    assert!(value.get("words").is_none() && value["segments"].is_array());
}

#[tokio::test]
async fn what_the_model_honours_reaches_it() {
    let server = Server::new();
    let text = async |fields: &[(&str, &str)]| {
        asked(&server, fields).await.value()["text"].as_str().unwrap().to_owned()
    };
    let all = [("temperature", "0.5"), ("language", "en"), ("prompt", "Mr.")];
    assert_eq!(text(&all).await, r#"one None Some(0.5) Some(["en"]) Some(["Mr."])"#);
    let nothing = [("temperature", "0"), ("prompt", " "), ("stream", "false")];
    assert_eq!(text(&nothing).await, PLAIN);
    assert_eq!(text(&[("response_format", "json")]).await, PLAIN);
    let got = server.post(PATH, FORM, raw(&[("file", "RIFF"), ("model", "hears@3")])).await;
    assert_eq!(got.value()["text"], PLAIN);
}

#[tokio::test]
async fn a_stream_is_the_text_in_deltas_and_then_the_whole() {
    let server = Server::new();
    let got = asked(&server, &[("stream", "true")]).await;
    assert_eq!(got.header("content-type"), "text/event-stream; charset=utf-8");
    let events = events(&got);
    let (done, deltas) = events.split_last().unwrap();
    let joined: String = deltas.iter().map(|event| event["delta"].as_str().unwrap()).collect();
    assert!(deltas.len() == 2 && deltas.iter().all(|e| e["type"] == "transcript.text.delta"));
    assert_eq!(*done, json!({"type": "transcript.text.done", "text": joined}));
}

#[tokio::test]
async fn a_model_that_streams_is_followed_as_it_goes() {
    let server = Server::new();
    let fields = [("file", "RIFF"), ("model", "follows"), ("stream", "true")];
    let got = server.post(PATH, FORM, raw(&fields)).await;
    assert_eq!((got.status.as_u16(), got.header("x-model")), (200, "follows"));
    let expected = [
        json!({"type": "transcript.text.delta", "delta": "a"}),
        json!({"type": "transcript.text.delta", "delta": " b"}),
        json!({"type": "transcript.text.done", "text": "a b"}),
    ];
    assert_eq!(events(&got), expected);
    let failing = [&fields[..], &[("temperature", "1")]].concat();
    let events = events(&server.post(PATH, FORM, raw(&failing)).await);
    assert_eq!(events.len(), 3);
    assert_eq!(events[2]["error"]["type"], "server_error");
}

/// Checks that this is a failure in OpenAI's form, about this parameter.
#[track_caller]
fn refused(got: &Got, status: u16, param: &str, what: &str) {
    assert_eq!(got.status, status, "{what}: {got:?}");
    assert_eq!(got.header("content-type"), "application/json", "{what}");
    assert!(got.text.len() < 4096, "{what}");
    let error = &got.value()["error"];
    assert_eq!(error["param"], json!((!param.is_empty()).then_some(param)), "{what}: {error}");
    let texts = [&error["message"], &error["type"], &error["code"]];
    assert!(texts.iter().all(|text| text.as_str().is_some_and(|t| !t.is_empty())), "{what}");
}

#[tokio::test]
async fn fields_that_are_not_understood_are_refused_by_name() {
    let server = Server::new();
    let verbose = ("response_format", "verbose_json");
    for (fields, param) in [
        (vec![("response_format", "xml")], "response_format"),
        (vec![("response_format", "diarized_json")], "response_format"),
        (vec![("response_format", "")], "response_format"),
        (vec![("temperature", "1.1")], "temperature"),
        (vec![("temperature", "-0.1")], "temperature"),
        (vec![("temperature", "NaN")], "temperature"),
        (vec![("temperature", "warm")], "temperature"),
        (vec![("temperature", "0"), ("temperature", "0")], "temperature"),
        (vec![("timestamp_granularities[]", "word")], "timestamp_granularities[]"),
        (vec![("timestamp_granularities", "segment")], "timestamp_granularities[]"),
        (vec![verbose, ("timestamp_granularities[]", "letter")], "timestamp_granularities[]"),
        (vec![verbose, ("timestamp_granularities", "")], "timestamp_granularities"),
        (vec![("stream", "yes")], "stream"),
        (vec![("stream", "true"), verbose], "response_format"),
        (vec![("stream", "true"), ("response_format", "srt")], "response_format"),
        (vec![("include[]", "logprobs")], "include[]"),
        (vec![("chunking_strategy", "auto")], "chunking_strategy"),
        (vec![("known_speaker_names[]", "a")], "known_speaker_names[]"),
        (vec![("seed", "1")], "seed"),
        (vec![("beam_size", "5")], "beam_size"),
        (vec![("timestamps", "word")], "timestamps"),
        (vec![("task", "translate")], "task"),
        (vec![("language", "")], "language"),
        (vec![("language", "much too long")], "language"),
        (vec![("language", "en"), ("language", "de")], "language"),
        (vec![("model", "hears")], "model"),
        (vec![("file", "RIFF")], "file"),
    ] {
        let got = server.post(PATH, FORM, form(&fields)).await;
        refused(&got, 400, param, &format!("{fields:.80?}"));
    }
}

#[tokio::test]
async fn models_and_files_must_be_there_and_be_of_speech() {
    let server = Server::new();
    let file = ("file", "RIFF");
    for (fields, status, param) in [
        (vec![file], 400, "model"),
        (vec![file, ("model", "echo")], 400, "model"),
        (vec![file, ("model", "talker")], 400, "model"),
        (vec![file, ("model", "nobody")], 404, "model"),
        (vec![file, ("model", "")], 404, "model"),
        (vec![file, ("model", "../etc")], 404, "model"),
        (vec![file, ("model", "hears@none")], 404, "model"),
        (vec![file, ("model", "hears@0")], 404, "model"),
        (vec![("model", "hears")], 400, "file"),
        (vec![("model", "hears"), ("file", "")], 400, "file"),
        (vec![], 400, "file"),
    ] {
        let got = server.post(PATH, FORM, raw(&fields)).await;
        refused(&got, status, param, &format!("{fields:?}"));
    }
    let got = server.post(PATH, FORM, raw(&[file, ("model", "hears@4")])).await;
    assert_eq!(got.status, 404, "{got:?}");
    let got = server.post(PATH, FORM, raw(&[file, ("model", "talker")])).await;
    assert!(got.text.contains("/v1/completions"), "{got:?}");
    let got = server.post(PATH, FORM, raw(&[file, ("model", "full")])).await;
    assert_eq!((got.status.as_u16(), got.header("retry-after")), (503, "3"));
}

#[tokio::test]
async fn bodies_that_are_no_form_are_refused() {
    let server = Server::new();
    let whole = form(&[]);
    for (content_type, body, status, param) in [
        ("application/json", r#"{"model": "hears"}"#, 415, ""),
        ("audio/wav", "RIFF", 415, ""),
        ("application/x-www-form-urlencoded", "model=hears", 415, ""),
        ("multipart/form-data", &whole, 400, ""),
        ("multipart/form-data; boundary=c", &whole, 400, ""),
        (FORM, &whole[..whole.len() - 12], 400, ""),
        (FORM, &whole[..60], 400, ""),
        (FORM, "", 400, ""),
        (FORM, "--b\r\n\r\nnameless\r\n--b--\r\n", 400, ""),
        (FORM, &raw(&[("a", "1"); 17]), 413, ""),
    ] {
        let got = server.post(PATH, content_type, body.to_owned()).await;
        refused(&got, status, param, content_type);
    }
    let mut bytes = form(&[("prompt", "?")]).into_bytes();
    let at = bytes.iter().rposition(|&byte| byte == b'?').unwrap();
    bytes[at] = 0xff;
    refused(&server.post(PATH, FORM, bytes).await, 422, "prompt", "bytes that are no UTF-8");
    let got = server.post(&format!("{PATH}?model=hears"), FORM, whole.clone()).await;
    refused(&got, 400, "query", "a query");
    refused(&server.get(PATH).await, 405, "method", "GET");
    let picture = whole.replace("audio/wav", "application/zip");
    refused(&server.post(PATH, FORM, picture).await, 415, "file", "an archive");
}

#[tokio::test]
async fn a_model_that_cannot_translate_says_so_of_itself() {
    let server = Server::new();
    let got = server.post(TRANSLATIONS, FORM, form(&[])).await;
    refused(&got, 400, "model", "a translation");
    assert!(got.text.contains("/v1/audio/transcriptions"), "{got:?}");
    for field in ["language", "stream"] {
        let got = server.post(TRANSLATIONS, FORM, form(&[(field, "true")])).await;
        refused(&got, 400, field, field);
    }
    let verbose = ("response_format", "verbose_json");
    let words = ("timestamp_granularities[]", "word");
    let got = server.post(TRANSLATIONS, FORM, form(&[verbose, words])).await;
    refused(&got, 400, words.0, "words of a translation");
}
