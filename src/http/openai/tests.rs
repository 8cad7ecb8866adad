//! What is refused and where, and what an answer is made of. `tests/it/openai.rs` asks a real model.

use serde_json::{Value, json};

use super::{chat, completions, embeddings};
use crate::domain::{
    Answer, Finish, Item, Kind, MediaLimits, Outcome, ParamValue, Problem, ScoredToken, Timings,
    Token,
};
use crate::http::openai::generation::Chosen;
use crate::http::testing::{Got, Server};

const LIMITS: MediaLimits = MediaLimits {
    image_side_px_max: 1,
    image_decoded_bytes_max: 1,
    audio_seconds_max: 1,
    text_bytes_max: 100,
    tensor_values_max: 1,
    items_max: 3,
    generated_tokens_max: 50,
};

/// The body with these keys beside those that it must have.
fn completion(more: &str) -> String {
    format!(r#"{{"model": "talker", "prompt": "a"{more}}}"#)
}

fn chat(more: &str) -> String {
    format!(r#"{{"model": "talker", "messages": [{{"role": "user", "content": "a"}}]{more}}}"#)
}

fn embedding(more: &str) -> String {
    format!(r#"{{"model": "talker", "input": "a"{more}}}"#)
}

/// What is refused of this body, as its kind and where.
#[track_caller]
fn check<T>(read: Result<T, Problem>, body: &str, kind: Kind, pointer: &str) {
    let Err(problem) = read else { panic!("{body} was read") };
    let fault = &problem.faults[0];
    assert_eq!((problem.kind, fault.pointer.as_str()), (kind, pointer), "{body}: {problem}");
    assert!(!fault.expected.is_empty() && !fault.hint.is_empty(), "{body}: {fault:?}");
}

use Kind::{InvalidInput, NotFound, TooLarge, Unsupported};

#[test]
#[expect(clippy::too_many_lines, reason = "a table: one row a fault")]
fn completions_refuse_what_is_wrong_where_it_is() {
    let long = "x".repeat(101);
    let whole = |body: String, kind, pointer| (body, kind, pointer);
    let beside = |more: &str, kind, pointer| (completion(&format!(", {more}")), kind, pointer);
    let prompt = |prompt: &str, kind, pointer| {
        (format!(r#"{{"model": "talker", "prompt": {prompt}}}"#), kind, pointer)
    };
    for (body, kind, pointer) in [
        whole(String::new(), InvalidInput, ""),
        whole("null".into(), InvalidInput, ""),
        whole("[]".into(), InvalidInput, ""),
        whole("{}".into(), InvalidInput, "/model"),
        whole(completion("}"), InvalidInput, ""),
        whole(format!("{}x", completion("")), InvalidInput, ""),
        whole("{\"model\": 1}".into(), InvalidInput, "/model"),
        whole("{\"model\": null, \"prompt\": \"a\"}".into(), InvalidInput, "/model"),
        whole("{\"model\": \"../x\", \"prompt\": \"a\"}".into(), NotFound, "/model"),
        whole("{\"model\": \"a@0\", \"prompt\": \"a\"}".into(), NotFound, "/model"),
        whole("{\"model\": \"a@1@2\", \"prompt\": \"a\"}".into(), NotFound, "/model"),
        whole("{\"model\": \"a@\", \"prompt\": \"a\"}".into(), NotFound, "/model"),
        whole("{\"model\": \"talker\"}".into(), InvalidInput, "/prompt"),
        prompt("null", InvalidInput, "/prompt"),
        prompt("1", InvalidInput, "/prompt"),
        prompt("{}", InvalidInput, "/prompt"),
        prompt("[]", InvalidInput, "/prompt"),
        prompt("[null]", InvalidInput, "/prompt/0"),
        prompt("[{}]", InvalidInput, "/prompt/0"),
        prompt("[\"a\", 1]", InvalidInput, "/prompt/1"),
        prompt("[1, \"a\"]", InvalidInput, "/prompt/1"),
        prompt("[[1], 1]", InvalidInput, "/prompt/1"),
        prompt("[1, -1]", InvalidInput, "/prompt/1"),
        prompt("[1.5]", InvalidInput, "/prompt/0"),
        prompt("[1e99]", InvalidInput, "/prompt/0"),
        prompt("[4294967296]", InvalidInput, "/prompt/0"),
        prompt("[[1, \"a\"]]", InvalidInput, "/prompt/0/1"),
        prompt("[[[1]]]", InvalidInput, "/prompt/0/0"),
        prompt("[\"a\", \"b\", \"c\", \"d\"]", TooLarge, "/prompt"),
        prompt(&format!("\"{long}\""), TooLarge, "/prompt"),
        prompt(&format!("[\"a\", \"{long}\"]"), TooLarge, "/prompt/1"),
        prompt(&format!("[{}1]", "1,".repeat(100)), TooLarge, "/prompt"),
        prompt(&"[".repeat(100_000), InvalidInput, "/prompt/0/0"),
        prompt("\"a\", \"prompt\": \"b\"", InvalidInput, "/prompt"),
        prompt("\"\\ud800\"", InvalidInput, ""),
        beside("\"colour\": 1", Unsupported, "/colour"),
        beside("\"\": 1", Unsupported, "/"),
        beside("\"a/b~\": [[[[", Unsupported, "/a~1b~0"),
        beside("\"suffix\": \"x\"", Unsupported, "/suffix"),
        beside("\"max_tokens\": \"5\"", InvalidInput, "/max_tokens"),
        beside("\"max_tokens\": -1", InvalidInput, "/max_tokens"),
        beside("\"max_tokens\": 1.5", InvalidInput, "/max_tokens"),
        beside("\"max_tokens\": true", InvalidInput, "/max_tokens"),
        beside("\"max_tokens\": [5]", InvalidInput, "/max_tokens"),
        beside("\"temperature\": \"hot\"", InvalidInput, "/temperature"),
        beside("\"temperature\": NaN", InvalidInput, ""),
        beside("\"temperature\": 1e999", InvalidInput, ""),
        beside("\"temperature\": 1, \"temperature\": 1", InvalidInput, "/temperature"),
        beside("\"user\": null, \"user\": null", InvalidInput, "/user"),
        beside("\"user\": 5", InvalidInput, "/user"),
        beside(&format!("\"user\": \"{}\"", "x".repeat(513)), InvalidInput, "/user"),
        beside("\"n\": 0", InvalidInput, "/n"),
        beside("\"n\": 33", InvalidInput, "/n"),
        beside("\"n\": 1e18", InvalidInput, "/n"),
        beside("\"n\": \"2\"", InvalidInput, "/n"),
        beside("\"best_of\": 0", InvalidInput, "/best_of"),
        beside("\"best_of\": 2, \"n\": 3", InvalidInput, "/best_of"),
        beside("\"best_of\": 2, \"stream\": true", Unsupported, "/best_of"),
        beside("\"logprobs\": 6", InvalidInput, "/logprobs"),
        beside("\"logprobs\": true", InvalidInput, "/logprobs"),
        beside("\"echo\": 1", InvalidInput, "/echo"),
        beside("\"stream\": \"true\"", InvalidInput, "/stream"),
        beside("\"stream_options\": {}", InvalidInput, "/stream_options"),
        beside("\"stream\": true, \"stream_options\": []", InvalidInput, "/stream_options"),
        beside(
            "\"stream\": true, \"stream_options\": {\"include_usage\": 1}",
            InvalidInput,
            "/stream_options/include_usage",
        ),
        beside(
            "\"stream\": true, \"stream_options\": {\"colour\": 1}",
            Unsupported,
            "/stream_options/colour",
        ),
        beside("\"stop\": 1", InvalidInput, "/stop"),
        beside("\"stop\": [\"a\", 1]", InvalidInput, "/stop/1"),
        beside("\"stop\": [\"a\", \"b\", \"c\", \"d\", \"e\"]", InvalidInput, "/stop"),
        beside("\"logit_bias\": 5", InvalidInput, "/logit_bias"),
        beside("\"logit_bias\": {\"5\": \"x\"}", InvalidInput, "/logit_bias/5"),
        beside("\"logit_bias\": {\"5\": 1, \"5\": 2}", InvalidInput, "/logit_bias/5"),
    ] {
        check(completions::read(body.as_bytes(), &LIMITS), &body, kind, pointer);
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table: one row a fault")]
fn chats_refuse_what_is_wrong_where_it_is() {
    let beside = |more: &str, kind, pointer| (chat(&format!(", {more}")), kind, pointer);
    let messages = |messages: &str, kind, pointer| {
        (format!(r#"{{"model": "talker", "messages": {messages}}}"#), kind, pointer)
    };
    let message = |message: &str, kind, pointer| {
        messages(&format!("[{{\"role\": \"user\", {message}}}]"), kind, pointer)
    };
    let long = format!("\"{}\"", "x".repeat(60));
    for (body, kind, pointer) in [
        messages("null", InvalidInput, "/messages"),
        messages("[]", InvalidInput, "/messages"),
        messages("\"a\"", InvalidInput, "/messages"),
        messages("[\"a\"]", InvalidInput, "/messages/0"),
        messages("[{}]", InvalidInput, "/messages/0/role"),
        messages("[{\"role\": \"tool\"}]", Unsupported, "/messages/0/role"),
        messages("[{\"role\": 1}]", InvalidInput, "/messages/0/role"),
        messages("[{\"role\": \"user\"}]", InvalidInput, "/messages/0/content"),
        message("\"content\": null", InvalidInput, "/messages/0/content"),
        message("\"content\": 1", InvalidInput, "/messages/0/content"),
        message("\"content\": \"a\", \"name\": \"b\"", Unsupported, "/messages/0/name"),
        message("\"content\": \"a\", \"content\": \"b\"", InvalidInput, "/messages/0/content"),
        message("\"content\": [\"a\"]", InvalidInput, "/messages/0/content/0"),
        message("\"content\": [{\"text\": \"a\"}]", InvalidInput, "/messages/0/content/0/type"),
        message("\"content\": [{\"type\": \"text\"}]", InvalidInput, "/messages/0/content/0/text"),
        message(
            "\"content\": [{\"type\": \"text\", \"text\": \"a\"}, {\"type\": \"image_url\"}]",
            Unsupported,
            "/messages/0/content/1/type",
        ),
        messages(
            &format!(
                "[{{\"role\": \"user\", \"content\": {long}}}, {{\"role\": \"user\", \"content\": {long}}}]"
            ),
            TooLarge,
            "/messages",
        ),
        beside("\"prompt\": \"a\"", Unsupported, "/prompt"),
        beside("\"tools\": []", Unsupported, "/tools"),
        beside("\"tool_choice\": \"auto\"", Unsupported, "/tool_choice"),
        beside("\"tool_choice\": {}", Unsupported, "/tool_choice"),
        beside("\"functions\": []", Unsupported, "/functions"),
        beside("\"audio\": {}", Unsupported, "/audio"),
        beside(
            "\"response_format\": {\"type\": \"json_object\"}",
            Unsupported,
            "/response_format/type",
        ),
        beside("\"response_format\": \"text\"", InvalidInput, "/response_format"),
        beside("\"response_format\": {}", InvalidInput, "/response_format/type"),
        beside("\"modalities\": [\"text\", \"audio\"]", Unsupported, "/modalities/1"),
        beside("\"modalities\": \"text\"", InvalidInput, "/modalities"),
        beside("\"max_tokens\": 0", InvalidInput, "/max_tokens"),
        beside(
            "\"max_tokens\": 5, \"max_completion_tokens\": 6",
            InvalidInput,
            "/max_completion_tokens",
        ),
        beside("\"logprobs\": 5", InvalidInput, "/logprobs"),
        beside("\"top_logprobs\": 5", InvalidInput, "/top_logprobs"),
        beside("\"logprobs\": true, \"top_logprobs\": 21", InvalidInput, "/top_logprobs"),
        beside("\"best_of\": 2", Unsupported, "/best_of"),
        beside("\"echo\": true", Unsupported, "/echo"),
    ] {
        check(chat::read(body.as_bytes(), &LIMITS), &body, kind, pointer);
    }
}

#[test]
fn embeddings_refuse_what_is_wrong_where_it_is() {
    for (more, kind, pointer) in [
        (", \"encoding_format\": \"int8\"", Unsupported, "/encoding_format"),
        (", \"encoding_format\": 8", InvalidInput, "/encoding_format"),
        (", \"dimensions\": 0", InvalidInput, "/dimensions"),
        (", \"dimensions\": \"5\"", InvalidInput, "/dimensions"),
        (", \"input\": \"b\"", InvalidInput, "/input"),
        (", \"truncate\": true", Unsupported, "/truncate"),
    ] {
        let body = embedding(more);
        check(embeddings::read(body.as_bytes(), &LIMITS), &body, kind, pointer);
    }
}

#[test]
fn null_is_as_good_as_absent() {
    let nulls = "max_tokens temperature top_p n best_of stream stream_options logprobs echo stop \
                 presence_penalty frequency_penalty logit_bias seed suffix user";
    let more: Vec<String> = nulls.split(' ').map(|key| format!(", \"{key}\": null")).collect();
    let more = more.concat();
    let wanted = completions::read(completion(&more).as_bytes(), &LIMITS).unwrap();
    let plain = completions::read(completion("").as_bytes(), &LIMITS).unwrap();
    assert_eq!(wanted.sampling.params, plain.sampling.params);
    let more = ", \"tools\": null, \"audio\": null, \"response_format\": null";
    chat::read(chat(more).as_bytes(), &LIMITS).unwrap();
}

#[test]
fn every_form_of_a_prompt_is_read() {
    let text = |text: &str| Item::Text(text.into());
    for (prompt, items) in [
        ("\"a\"", vec![text("a")]),
        ("[\"a\", \"b\"]", vec![text("a"), text("b")]),
        ("[1, 2.0]", vec![Item::Tokens(vec![1, 2])]),
        ("[[1, 2], [], [3]]", [vec![1, 2], vec![], vec![3]].map(Item::Tokens).to_vec()),
    ] {
        let body = format!("{{\"model\": \"a@2\", \"prompt\": {prompt}}}");
        let wanted = completions::read(body.as_bytes(), &LIMITS).unwrap();
        assert_eq!(wanted.prompts.items, items, "{prompt}");
        assert_eq!(wanted.named.said, "a@2");
    }
}

#[test]
fn messages_are_the_lines_of_one_prompt() {
    let body = r#"{"model": "m", "messages": [
        {"role": "system", "content": "a"}, {"role": "user", "content": [
            {"type": "text", "text": "b"}, {"type": "text", "text": "c"}], "name": null}],
        "modalities": ["text"], "tool_choice": "none", "response_format": {"type": "text"},
        "max_tokens": 7, "max_completion_tokens": 7, "logprobs": true}"#;
    let wanted = chat::read(body.as_bytes(), &LIMITS).unwrap();
    assert_eq!(wanted.prompts.items, [Item::Text("a\nbc".into())]);
    let mut reader = wanted.sampling.params.reader();
    assert_eq!(reader.integer("max_tokens", 0..=100), Some(7));
    assert_eq!(reader.integer("logprobs", 0..=100), Some(0));
    assert!(wanted.logprobs);
}

#[test]
fn the_default_length_is_within_the_servers_limit() {
    let wanted = chat::read(chat("").as_bytes(), &LIMITS).unwrap();
    assert_eq!(wanted.sampling.params.reader().integer("max_tokens", 0..=100), Some(50));
}

fn generated(text: &str, logprobs: &[f64]) -> Outcome {
    let token = |&logprob| ScoredToken {
        token: Token { id: 0, text: text.into(), logprob: Some(logprob) },
        offset: 0,
        top: Vec::new(),
    };
    Outcome::Generated {
        text: text.into(),
        tokens: logprobs.iter().map(token).collect(),
        finish_reason: Finish::Length,
        prompt_tokens: 3,
        completion_tokens: logprobs.len(),
        seed: 1,
    }
}

#[test]
fn the_best_of_several_are_those_of_the_highest_mean() {
    let outcomes = vec![
        generated("long", &[-1.0, -1.0, -1.0]),
        generated("short", &[-1.5]),
        generated("best", &[-0.25, -0.75]),
        generated("empty", &[]),
        generated("fine", &[-0.5]),
        generated("poor", &[-9.0]),
    ];
    let answer = Answer { outcomes, timings: Timings::default(), batch_rows: 1 };
    let chosen = Chosen::new(answer, 2, 3).unwrap();
    let texts: Vec<_> = chosen.texts.iter().map(|text| (text.index, text.text.as_str())).collect();
    assert_eq!(texts, [(0, "best"), (1, "long"), (2, "fine"), (3, "poor")]);
    // Two prompts, each read once; every text was generated.
    assert_eq!(
        json!(chosen.usage),
        json!({"prompt_tokens": 6, "completion_tokens": 8, "total_tokens": 14})
    );
}

#[test]
fn a_vector_is_cut_and_of_length_one_again() {
    let cut = embeddings::shortened(vec![0.6, 0.0, 0.8], Some(2));
    assert_eq!(cut, [1.0, 0.0]);
    // One that was of another length keeps its values.
    assert_eq!(embeddings::shortened(vec![3.0, 4.0], Some(1)), [3.0]);
    assert_eq!(embeddings::shortened(vec![0.6, 0.8], Some(2)), [0.6, 0.8]);
    assert_eq!(embeddings::encode(&[1.0, -2.0]), "AACAPwAAAMA=");
}

/// The body of a failure, whose shape is checked.
#[track_caller]
fn error(got: &Got, status: u16) -> Value {
    assert_eq!((got.status.as_u16(), got.header("content-type")), (status, "application/json"));
    let mut value = got.value();
    let error = value["error"].take();
    let keys: Vec<_> = error.as_object().unwrap().keys().map(String::as_str).collect();
    for key in ["message", "type", "param", "code"] {
        assert!(keys.contains(&key) && keys.len() == 4, "{error}");
    }
    error
}

#[tokio::test]
async fn failures_have_the_shape_that_clients_read() {
    let server = Server::new();
    let stranger = r#"{"model": "nobody", "prompt": "a"}"#;
    let other = r#"{"model": "echo", "prompt": "a"}"#;
    let version = r#"{"model": "talker@9", "prompt": "a"}"#;
    for (path, body, status, param, code) in [
        ("/v1/completions", "{", 400, None, "invalid_value"),
        ("/v1/completions", stranger, 404, Some("model"), "model_not_found"),
        ("/v1/completions", version, 404, Some("model"), "model_not_found"),
        ("/v1/completions", other, 400, Some("model"), "invalid_value"),
        ("/v1/completions", &completion(", \"x\": 1"), 400, Some("x"), "unsupported_parameter"),
        (
            "/v1/chat/completions",
            &chat(", \"tools\": []"),
            400,
            Some("tools"),
            "unsupported_parameter",
        ),
        (
            "/v1/chat/completions",
            r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "file"}]}]}"#,
            400,
            Some("messages[0].content[1].type"),
            "unsupported_parameter",
        ),
        ("/v1/embeddings", &embedding(""), 400, Some("model"), "invalid_value"),
    ] {
        let error = error(&server.json(path, body).await, status);
        assert_eq!((&error["param"], &error["code"]), (&json!(param), &json!(code)), "{error}");
        assert_eq!(error["type"], "invalid_request_error");
    }
    let error = error(&server.json("/v1/embeddings", &embedding("")).await, 400);
    assert!(error["message"].as_str().unwrap().contains("/v1/completions"), "{error}");
    let got = server.post("/v1/completions", "text/plain", completion("")).await;
    assert_eq!(self::error(&got, 415)["code"], "invalid_media");
    let got = server.get("/v1/completions").await;
    assert_eq!(
        (self::error(&got, 405)["code"].clone(), got.header("allow")),
        (json!("method_not_allowed"), "POST")
    );
    assert_eq!(server.post("/v1/completions", "", completion("")).await.status, 200);
}

fn data(got: &Got) -> Vec<&str> {
    let events = got.text.split("\n\n").filter(|event| !event.is_empty());
    events.map(|event| event.strip_prefix("data: ").unwrap()).collect()
}

fn events(got: &Got) -> Vec<Value> {
    data(got).into_iter().map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[tokio::test]
async fn a_stream_of_completions_ends_with_its_usage_and_done() {
    let server = Server::new();
    let body = completion(", \"stream\": true, \"stream_options\": {\"include_usage\": true}");
    let mut got = server.json("/v1/completions", &body).await;
    assert_eq!(got.header("content-type"), "text/event-stream; charset=utf-8");
    assert_eq!(got.header("x-model-version"), "3");
    let done = "data: [DONE]\n\n";
    assert!(got.text.ends_with(done), "{got:?}");
    got.text.truncate(got.text.len() - done.len());
    let events = events(&got);
    let choices: Vec<&Value> = events.iter().map(|event| &event["choices"]).collect();
    let choice = |text: &str, finish: Option<&str>| json!([{"text": text, "index": 0, "logprobs": null, "finish_reason": finish}]);
    assert_eq!(
        choices,
        [&choice("a", None), &choice("b", None), &choice("", Some("length")), &json!([])]
    );
    for event in &events[..3] {
        assert_eq!((&event["usage"], &event["object"]), (&Value::Null, &json!("text_completion")));
        assert_eq!(event["id"], format!("cmpl-{}", got.header("x-request-id")));
        assert_eq!((&event["model"], &event["created"]), (&json!("talker"), &events[0]["created"]));
        let print = format!("fp_abababababab_{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(event["system_fingerprint"], print);
    }
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3});
    assert_eq!(events[3]["usage"], usage);
    let got = server.json("/v1/completions", &completion(", \"stream\": true")).await;
    assert!(!got.text.contains("usage"), "{got:?}");
}

#[tokio::test]
async fn a_stream_of_a_chat_begins_with_its_role() {
    let server = Server::new();
    let got = server.json("/v1/chat/completions", &chat(", \"stream\": true")).await;
    let data = data(&got);
    assert_eq!(data.last(), Some(&"[DONE]"));
    let deltas: Vec<Value> = data[..data.len() - 1]
        .iter()
        .map(|data| serde_json::from_str::<Value>(data).unwrap()["choices"][0].clone())
        .collect();
    let choice = |delta: Value, finish: Option<&str>| json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish});
    let expected = [
        choice(json!({"role": "assistant", "content": ""}), None),
        choice(json!({"content": "a"}), None),
        choice(json!({"content": "b"}), None),
        choice(json!({}), Some("length")),
    ];
    assert_eq!(deltas, expected);
}

#[tokio::test]
async fn a_stream_that_fails_ends_in_an_error_and_is_not_done() {
    let server = Server::new();
    let got = server.json("/v1/completions", &completion(", \"stream\": true, \"seed\": 1")).await;
    assert_eq!(got.status, 200);
    let events = events(&got);
    assert_eq!(events.len(), 3);
    assert_eq!(events[2]["error"]["code"], "inference_failed");
}

#[test]
fn what_the_engine_judges_keeps_its_place() {
    let body =
        completion(", \"top_p\": 2, \"logit_bias\": {\"7\": -100}, \"best_of\": 3, \"n\": 2");
    let wanted = completions::read(body.as_bytes(), &LIMITS).unwrap();
    let params = &wanted.sampling.params;
    assert_eq!(params.pointer("top_p"), Some("/top_p"));
    assert_eq!(params.pointer("n"), Some("/best_of"));
    assert_eq!((wanted.n, wanted.best_of, wanted.logprobs), (2, 3, false));
    let mut reader = params.reader();
    assert_eq!(reader.by_token("logit_bias", 9, -100.0..=100.0, 8), Some(vec![(7, -100.0)]));
    assert_eq!(reader.integer("max_tokens", 0..=100), Some(16));
    let text = ParamValue::Text("1".into());
    assert!(!params.clone().insert("n", text, String::new()));
}
