//! What OpenAI's clients send, byte by byte. `tests/clients/openai_text.py` drives the client itself.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Server, answer};

const COMPLETIONS: &str = "/v1/completions";
const CHATS: &str = "/v1/chat/completions";

async fn ask(server: &Server, path: &str, body: Value) -> Value {
    answer(server.post(path).json(&body).send().await.unwrap()).await
}

/// The events of a stream, without the mark at its end, which must be there.
async fn events(server: &Server, path: &str, body: Value) -> Vec<Value> {
    let response = server.post(path).json(&body).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
    let text = response.text().await.unwrap();
    let mut data: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(data.pop(), Some("[DONE]"), "{text}");
    data.into_iter().map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[tokio::test]
async fn a_completion_has_exactly_the_keys_that_clients_know() {
    let server = Server::shipped().await;
    let body = json!({"model": "kjv@1", "prompt": "In the beginning", "max_tokens": 5, "seed": 7,
        "temperature": 0, "user": "ann", "suffix": null});
    let response = server.post(COMPLETIONS).json(&body).send().await.unwrap();
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    let (id, version, digest) =
        (header("x-request-id"), header("x-model-version"), header("x-model-digest"));
    let got = answer(response).await;
    let print = format!("fp_{}_{}", &digest[..12], env!("CARGO_PKG_VERSION"));
    let text = got["choices"][0]["text"].as_str().unwrap();
    assert_eq!((text.chars().count(), version.as_str()), (5, "1"));
    let expected = json!({
        "id": format!("cmpl-{id}"), "object": "text_completion", "created": got["created"],
        "model": "kjv@1", "system_fingerprint": print,
        "choices": [{"text": text, "index": 0, "logprobs": null, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 16, "completion_tokens": 5, "total_tokens": 21},
    });
    assert_eq!(got, expected);
    assert!(got["created"].as_u64().unwrap() > 1_700_000_000);

    let chat = json!({"model": "kjv", "max_tokens": 5, "temperature": 0, "messages": [
        {"role": "user", "content": "In the beginning"}]});
    let got = ask(&server, CHATS, chat).await;
    let message = json!({"role": "assistant", "content": text, "refusal": null});
    let choice =
        json!([{"index": 0, "message": message, "logprobs": null, "finish_reason": "length"}]);
    assert_eq!((&got["choices"], &got["object"]), (&choice, &json!("chat.completion")));
}

#[tokio::test]
async fn probabilities_are_the_same_whole_streamed_echoed_and_by_our_own_api() {
    let server = Server::shipped().await;
    let body = json!({"model": "kjv", "prompt": "And God", "max_tokens": 8, "seed": 3, "logprobs": 2,
        "echo": true, "n": 2});
    let whole = ask(&server, COMPLETIONS, body.clone()).await;
    let mut streamed = body;
    streamed["stream"] = true.into();
    let events = events(&server, COMPLETIONS, streamed).await;
    for choice in whole["choices"].as_array().unwrap() {
        let mut joined =
            json!({"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []});
        let mut text = String::new();
        for part in events.iter().map(|event| &event["choices"][0]) {
            if part["index"] == choice["index"] {
                text.push_str(part["text"].as_str().unwrap());
                for (key, list) in joined.as_object_mut().unwrap() {
                    let more = part["logprobs"][key.as_str()].as_array();
                    list.as_array_mut().unwrap().extend(more.into_iter().flatten().cloned());
                }
            }
        }
        assert_eq!((&json!(text), &joined), (&choice["text"], &choice["logprobs"]));
    }
    let own = json!({"text": "And God", "parameters":
        {"max_tokens": 8, "seed": 3, "logprobs": 2, "echo": true}});
    let own = ask(&server, "/v1/predict/kjv", own).await;
    let logprobs: Vec<&Value> =
        own["tokens"].as_array().unwrap().iter().map(|t| &t["logprob"]).collect();
    assert_eq!(json!(logprobs), whole["choices"][0]["logprobs"]["token_logprobs"]);
    let sum: f64 = logprobs[1..].iter().map(|logprob| logprob.as_f64().unwrap()).sum();
    assert!(sum < 0.0, "{sum}");
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one life of a client, from start to end")]
async fn every_bad_body_is_refused_politely_and_the_server_goes_on() {
    let server = Server::shipped().await;
    let completion = |more: &str| format!("{{\"model\": \"kjv\", \"prompt\": \"And\", {more}}}");
    let deep = completion(&format!("\"x\": {}", "[".repeat(1 << 20)));
    let many = format!("{{{}\"model\": \"kjv\"}}", "\"a\": null, ".repeat(100_000));
    let biases: Vec<String> = (0..2000).map(|id| format!("\"{id}\": 1")).collect();
    let biases = completion(&format!("\"logit_bias\": {{{}}}", biases.join(",")));
    for (path, body, param) in [
        (COMPLETIONS, deep, Some("x")),
        (COMPLETIONS, many, Some("a")),
        (COMPLETIONS, biases, Some("logit_bias")),
        (COMPLETIONS, "\u{feff}{}".to_owned(), None),
        (COMPLETIONS, completion("\"temperature\": 11"), Some("temperature")),
        (COMPLETIONS, completion("\"temperature\": -0.1"), Some("temperature")),
        (COMPLETIONS, completion("\"top_p\": 1.5"), Some("top_p")),
        (COMPLETIONS, completion("\"top_k\": 0"), Some("top_k")),
        (COMPLETIONS, completion("\"min_p\": -1"), Some("min_p")),
        (COMPLETIONS, completion("\"repetition_penalty\": 0"), Some("repetition_penalty")),
        (COMPLETIONS, completion("\"presence_penalty\": 2.5"), Some("presence_penalty")),
        (COMPLETIONS, completion("\"frequency_penalty\": -3"), Some("frequency_penalty")),
        (COMPLETIONS, completion("\"seed\": -1"), Some("seed")),
        (COMPLETIONS, completion("\"seed\": 1.5"), Some("seed")),
        (COMPLETIONS, completion("\"seed\": 9007199254740992"), Some("seed")),
        (COMPLETIONS, completion("\"max_tokens\": 0"), Some("max_tokens")),
        (COMPLETIONS, completion("\"max_tokens\": 5000"), Some("max_tokens")),
        (COMPLETIONS, completion("\"max_tokens\": 4294967296"), Some("max_tokens")),
        (COMPLETIONS, completion("\"stop\": \"\""), Some("stop")),
        (COMPLETIONS, completion("\"logit_bias\": {\"63\": 1}"), Some("logit_bias")),
        (COMPLETIONS, completion("\"logit_bias\": {\"a\": 1}"), Some("logit_bias")),
        (COMPLETIONS, completion("\"logit_bias\": {\"1\": 101}"), Some("logit_bias")),
        (COMPLETIONS, r#"{"model": "kjv", "prompt": ""}"#.to_owned(), Some("prompt")),
        (COMPLETIONS, r#"{"model": "kjv", "prompt": ["a", "€"]}"#.to_owned(), Some("prompt[1]")),
        (COMPLETIONS, r#"{"model": "kjv", "prompt": [0, 63]}"#.to_owned(), Some("prompt")),
        (COMPLETIONS, r#"{"model": "kjv", "prompt": [[0], []]}"#.to_owned(), Some("prompt[1]")),
        (COMPLETIONS, r#"{"model": "kjv", "prompt": ["a", "b"], "n": 17}"#.to_owned(), Some("n")),
        (COMPLETIONS, r#"{"model": "digits", "prompt": "a"}"#.to_owned(), Some("model")),
        (
            CHATS,
            r#"{"model": "kjv", "messages": [{"role": "user", "content": "€"}]}"#.to_owned(),
            Some("messages"),
        ),
        ("/v1/embeddings", r#"{"model": "kjv", "input": "a"}"#.to_owned(), Some("model")),
    ] {
        let what: String = body.chars().take(100).collect();
        let request = server.post(path).header("content-type", "application/json").body(body);
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(text.len() < 4096, "{what}: {} bytes", text.len());
        let large = param == Some("n");
        let expected = if large { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
        assert_eq!(status, expected, "{what}: {text}");
        let error = serde_json::from_str::<Value>(&text).unwrap()["error"].take();
        assert_eq!(error["param"], json!(param), "{what}: {error}");
        for key in ["message", "type", "code"] {
            assert!(error[key].is_string(), "{what}: {error}");
        }
        for leak in ["src/", "panicked", "candle", "serde", "Error("] {
            assert!(!text.contains(leak), "{what} tells of {leak}: {text}");
        }
    }
    let bytes = b"{\"model\": \"kjv\", \"prompt\": \"\xff\"}".to_vec();
    let response = server.post(COMPLETIONS).body(bytes).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let body = json!({"model": "kjv", "prompt": "And", "max_tokens": 2});
    ask(&server, COMPLETIONS, body).await;
}
