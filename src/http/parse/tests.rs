use axum::http::HeaderValue;
use bytes::Bytes;
use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::domain::Tensor;
use crate::http::testing::media;

fn read(
    content_type: Option<&str>,
    query: &[(&str, &str)],
    body: &[u8],
) -> Result<Parsed, Problem> {
    let wire = Wire {
        content_type: content_type.map(|text| HeaderValue::from_str(text).unwrap()),
        query: query.iter().map(|&(name, value)| (name.into(), value.into())).collect(),
        path_names_model: false,
        body: Bytes::copy_from_slice(body),
    };
    parse(wire, &media()).now_or_never().expect("a whole body is never waited for")
}

fn json(body: &str) -> Result<Parsed, Problem> {
    read(Some("application/json"), &[], body.as_bytes())
}

fn items(body: &str) -> Vec<Item> {
    json(body).unwrap_or_else(|problem| panic!("{body}: {problem:?}")).payload.items
}

fn tensor(shape: &[usize], data: &[f32]) -> Item {
    Item::Tensor(Tensor::new(shape.to_vec(), data.to_vec()).unwrap())
}

/// Pointer, kind and the whole fault of what must be refused.
#[track_caller]
fn fault(body: &str) -> (String, Kind, String) {
    let problem = json(body).expect_err(body);
    let fault = &problem.faults[0];
    (fault.pointer.clone(), problem.kind, format!("{fault:?}"))
}

#[test]
fn every_form_of_one_item() {
    for (body, item) in [
        (r#"{"text": "é\n"}"#, Item::Text("é\n".into())),
        (r#"{"inputs": "x"}"#, Item::Text("x".into())),
        (r#"{"image": "AAEC"}"#, Item::Image(vec![0, 1, 2].into())),
        (r#"{"image": "data:image/png;base64,AAE="}"#, Item::Image(vec![0, 1].into())),
        (r#"{"audio": "AAE"}"#, Item::Audio(vec![0, 1].into())),
        (r#"{"inputs": {"b64": "AAEC"}}"#, Item::Opaque(vec![0, 1, 2].into())),
        (r#"{"inputs": [1, -2.5, 3e2]}"#, tensor(&[3], &[1.0, -2.5, 300.0])),
        (r#"{"inputs": [[1,2],[3,4],[5,6]]}"#, tensor(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])),
        (r#"{"inputs": [[[1],[2]]]}"#, tensor(&[1, 2, 1], &[1.0, 2.0])),
        (r#"{"inputs": {"data": [1,2], "shape": [2,1]}}"#, tensor(&[2, 1], &[1.0, 2.0])),
    ] {
        let parsed = json(body).unwrap_or_else(|problem| panic!("{body}: {problem:?}"));
        assert_eq!(parsed.payload.items, [item], "{body}");
        assert!(!parsed.list, "{body}");
    }
}

#[test]
fn lists_stay_lists_even_of_one() {
    for (body, expected) in [
        (r#"{"text": ["a"]}"#, vec![Item::Text("a".into())]),
        (
            r#"{"inputs": ["a", {"text": "b"}]}"#,
            vec![Item::Text("a".into()), Item::Text("b".into())],
        ),
        (r#"{"instances": [[1,2],[3]]}"#, vec![tensor(&[2], &[1.0, 2.0]), tensor(&[1], &[3.0])]),
        (
            r#"{"instances": [1.5, "x", {"b64": "AA=="}]}"#,
            vec![tensor(&[], &[1.5]), Item::Text("x".into()), Item::Opaque(vec![0].into())],
        ),
    ] {
        let parsed = json(body).unwrap();
        assert_eq!(parsed.payload.items, expected, "{body}");
        assert!(parsed.list, "{body}");
    }
    let pointers = json(r#"{"instances": [1, 2]}"#).unwrap().payload.pointers;
    assert_eq!(pointers, ["/instances/0", "/instances/1"]);
}

#[test]
fn the_model_and_parameters_come_along() {
    let parsed = json(
        r#"{"parameters": {"a": 1, "b": -0.5, "c": true, "d": "x", "stop": ["y", "z"]},
            "text": "t", "model": "m"}"#,
    )
    .unwrap();
    assert_eq!(parsed.model.unwrap().as_str(), "m");
    let mut reader = parsed.params.reader();
    assert_eq!(reader.integer("a", 0..=9), Some(1));
    assert_eq!(reader.number("b", -1.0..=1.0), Some(-0.5));
    assert_eq!(reader.flag("c"), Some(true));
    assert_eq!(reader.texts("d", 1, 9), Some(vec!["x".into()]));
    assert_eq!(reader.texts("stop", 2, 9), Some(vec!["y".into(), "z".into()]));
    reader.finish().unwrap();
}

/// What was refused, where, as what kind, and a word that the fault must hold.
#[test]
#[expect(clippy::too_many_lines, reason = "a table: one row a fault")]
fn faults_say_where_and_what() {
    use Kind::{InvalidInput, NotFound, TooLarge};
    let deep = format!("{{\"inputs\": {}", "[".repeat(100_000));
    let many = format!("{{\"inputs\": [{}1]}}", "1,".repeat(64));
    let long = format!("{{\"text\": \"{}\"}}", "x".repeat(257));
    let params = (0..65).map(|n| format!("\"p{n}\": 1")).collect::<Vec<_>>().join(",");
    let params = format!("{{\"parameters\": {{{params}}}, \"text\": \"t\"}}");
    for (body, pointer, kind, word) in [
        ("{\"text\": \"a\"", "", InvalidInput, "too early"),
        ("{\"text\": \"a\"}}", "", InvalidInput, "line 1, column 14"),
        ("{\"inputs\": [NaN]}", "", InvalidInput, "no NaN"),
        ("{\"inputs\": [1e999]}", "", InvalidInput, "1e308"),
        ("{\"inputs\": [1,2", "", InvalidInput, "too early"),
        ("[1]", "", InvalidInput, "a list"),
        ("null", "", InvalidInput, "null"),
        ("{}", "", InvalidInput, "none of them"),
        ("{\"input\": [1]}", "/input", InvalidInput, "`input`"),
        ("{\"a/b~c\": 1}", "/a~1b~0c", InvalidInput, "spelling"),
        ("{\"text\": \"a\", \"image\": \"AA==\"}", "/image", InvalidInput, "beside"),
        ("{\"text\": \"a\", \"text\": \"b\"}", "/text", InvalidInput, "beside"),
        ("{\"model\": \"a\", \"model\": \"b\"}", "/model", InvalidInput, "twice"),
        ("{\"model\": \"../x\", \"text\": \"a\"}", "/model", NotFound, "a model name"),
        ("{\"model\": 5}", "/model", InvalidInput, "the number 5"),
        ("{\"text\": 5}", "/text", InvalidInput, "the number 5"),
        ("{\"text\": [\"a\", null]}", "/text/1", InvalidInput, "null"),
        ("{\"text\": []}", "/text", InvalidInput, "an empty list"),
        ("{\"text\": [\"a\",\"a\",\"a\",\"a\",\"a\"]}", "/text/4", TooLarge, "at most 4 items"),
        (&long, "/text", TooLarge, "257 bytes"),
        ("{\"image\": \"!\"}", "/image", InvalidInput, "not base64"),
        ("{\"image\": \"\"}", "/image", InvalidInput, "no bytes"),
        ("{\"image\": \"http://x/y.png\"}", "/image", InvalidInput, "nothing is fetched"),
        ("{\"image\": \"data:audio/wav;base64,AA==\"}", "/image", InvalidInput, "data:audio/wav"),
        ("{\"inputs\": 1}", "/inputs", InvalidInput, "the number 1"),
        ("{\"inputs\": []}", "/inputs", InvalidInput, "an empty list"),
        ("{\"inputs\": [[]]}", "/inputs/0", InvalidInput, "an empty list"),
        ("{\"inputs\": [[1,2],[3]]}", "/inputs/1", InvalidInput, "a list of 1"),
        ("{\"inputs\": [[1,2],3]}", "/inputs/1", InvalidInput, "a value where"),
        ("{\"inputs\": [1,[2]]}", "/inputs/1", InvalidInput, "a list where"),
        ("{\"inputs\": [[1,\"x\"]]}", "/inputs/0/1", InvalidInput, "a string"),
        ("{\"inputs\": [[1,true]]}", "/inputs/0/1", InvalidInput, "a boolean"),
        ("{\"inputs\": [1e39]}", "/inputs/0", InvalidInput, "32-bit"),
        ("{\"inputs\": [1, \"x\"]}", "/inputs", InvalidInput, "a list of both"),
        ("{\"inputs\": [\"x\", 1]}", "/inputs", InvalidInput, "a list of both"),
        ("{\"inputs\": [\"x\", [1]]}", "/inputs", InvalidInput, "a list of both"),
        (&deep, "/inputs/0/0/0/0/0/0/0/0", InvalidInput, "at most 8 dimensions"),
        (&many, "/inputs", TooLarge, "at most 64 values"),
        ("{\"instances\": {\"text\": \"a\"}}", "/instances", InvalidInput, "an object"),
        ("{\"instances\": [{\"txt\": \"a\"}]}", "/instances/0/txt", InvalidInput, "`txt`"),
        ("{\"instances\": [{}]}", "/instances/0", InvalidInput, "lacks them"),
        (
            "{\"inputs\": {\"text\": \"a\", \"b64\": \"\"}}",
            "/inputs/b64",
            InvalidInput,
            "a key more",
        ),
        ("{\"inputs\": {\"shape\": [2]}}", "/inputs", InvalidInput, "lacks them"),
        ("{\"inputs\": {\"shape\": [2], \"data\": [1]}}", "/inputs/data", InvalidInput, "1 values"),
        ("{\"inputs\": {\"shape\": [-2], \"data\": [1]}}", "/inputs/shape", InvalidInput, "-2"),
        ("{\"inputs\": {\"shape\": [1.5], \"data\": [1]}}", "/inputs/shape", InvalidInput, "1.5"),
        (
            "{\"inputs\": {\"shape\": [0], \"data\": [1]}}",
            "/inputs/shape",
            InvalidInput,
            "1 or more",
        ),
        ("{\"inputs\": {\"data\": [[1]], \"shape\": [1]}}", "/inputs/data", InvalidInput, "flat"),
        (
            "{\"inputs\": {\"shape\": [9223372036854775807,4], \"data\": [1]}}",
            "/inputs/shape",
            TooLarge,
            "at most 64 values",
        ),
        (
            "{\"inputs\": {\"shape\": [1,1,1,1,1,1,1,1,1], \"data\": [1]}}",
            "/inputs/shape",
            InvalidInput,
            "at most 8 sizes",
        ),
        ("{\"parameters\": []}", "/parameters", InvalidInput, "a list"),
        ("{\"parameters\": {\"a\": null}}", "/parameters/a", InvalidInput, "null"),
        ("{\"parameters\": {\"a\": [1]}}", "/parameters/a/0", InvalidInput, "the number 1"),
        ("{\"parameters\": {\"a\": 1, \"a\": 2}}", "/parameters/a", InvalidInput, "`a` twice"),
        ("{\"parameters\": {}, \"parameters\": {}}", "/parameters", InvalidInput, "twice"),
        (&params, "/parameters", TooLarge, "at most 64 parameters"),
    ] {
        let (got_pointer, got_kind, text) = fault(body);
        let shown = &body[..body.len().min(80)];
        assert_eq!((got_pointer.as_str(), got_kind), (pointer, kind), "{shown}: {text}");
        assert!(text.contains(word), "{shown}: {text}");
    }
}

#[test]
fn deep_lists_are_refused_where_they_get_too_deep() {
    let eight = format!("{{\"inputs\": {}1{}}}", "[".repeat(8), "]".repeat(8));
    assert_eq!(items(&eight), [tensor(&[1; 8], &[1.0])]);
}

#[test]
fn raw_bodies_go_by_their_content_type() {
    let bytes = || Bytes::from_static(b"abc");
    for (content_type, item) in [
        (None, Item::Opaque(bytes())),
        (Some("application/x-www-form-urlencoded"), Item::Opaque(bytes())),
        (Some("application/octet-stream"), Item::Opaque(bytes())),
        (Some("image/png"), Item::Image(bytes())),
        (Some("Audio/X-WAV; rate=8000"), Item::Audio(bytes())),
        (Some("text/plain"), Item::Text("abc".into())),
        (Some("text/plain; charset=\"UTF-8\""), Item::Text("abc".into())),
    ] {
        let parsed = read(content_type, &[], b"abc").unwrap();
        assert_eq!(parsed.payload, Payload::single(item, "/body"), "{content_type:?}");
    }
    for bad in ["text/html", "application/pdf", "video/mp4", "text/plain; charset=latin1"] {
        assert_eq!(read(Some(bad), &[], b"abc").unwrap_err().kind, Kind::UnsupportedMedia, "{bad}");
    }
    let problem = read(Some("text/plain"), &[], b"ab\xff").unwrap_err();
    assert_eq!(problem.kind, Kind::Undecodable);
    assert!(problem.detail.contains("offset 2"), "{problem:?}");
    assert_eq!(read(None, &[], b"").unwrap_err().kind, Kind::InvalidInput);
}

#[test]
fn the_query_holds_parameters_once_and_stop_more_often() {
    let query = [("top_k", "3"), ("stop", "a"), ("stop", "b"), ("model", "m")];
    let parsed = read(None, &query, b"x").unwrap();
    assert_eq!(parsed.model.unwrap().as_str(), "m");
    let mut reader = parsed.params.reader();
    assert_eq!(reader.integer("top_k", 1..=9), Some(3));
    assert_eq!(reader.texts("stop", 2, 9), Some(vec!["a".into(), "b".into()]));
    reader.finish().unwrap();

    let twice = read(None, &[("top_k", "1"), ("top_k", "2")], b"x").unwrap_err();
    assert_eq!(twice.faults[0].pointer, "/query/top_k");
    for (name, value) in [("top_k", "1"), ("stop", "\"y\"")] {
        let body = format!("{{\"text\": \"t\", \"parameters\": {{\"{name}\": {value}}}}}");
        let both = read(Some("application/json"), &[(name, "2")], body.as_bytes()).unwrap_err();
        assert_eq!(both.faults[0].pointer, format!("/parameters/{name}"));
    }
    let differ =
        read(Some("application/json"), &[("model", "a")], br#"{"text": "t", "model": "b"}"#);
    assert_eq!(differ.unwrap_err().faults[0].pointer, "/model");
}

const FORM: &str = "multipart/form-data; boundary=XX";

fn form(parts: &[(&str, &str, &str)]) -> Vec<u8> {
    let mut body = String::new();
    for (disposition, content_type, content) in parts {
        body.extend(["--XX\r\nContent-Disposition: form-data; ", disposition, "\r\n"]);
        if !content_type.is_empty() {
            body.extend(["Content-Type: ", content_type, "\r\n"]);
        }
        body.extend(["\r\n", content, "\r\n"]);
    }
    (body + "--XX--\r\n").into_bytes()
}

#[test]
fn a_form_holds_a_file_and_parameters() {
    let body = form(&[
        ("name=\"model\"", "", "m"),
        ("name=\"file\"; filename=\"../../a.png\"", "image/png", "PNG"),
        ("name=\"parameters\"", "application/json", "{\"a\": 2}"),
        ("name=\"top_k\"", "", "3"),
    ]);
    let parsed = read(Some(FORM), &[], &body).unwrap();
    assert_eq!(parsed.payload, Payload::single(Item::Image("PNG".into()), "/file"));
    assert_eq!(parsed.model.unwrap().as_str(), "m");
    let mut reader = parsed.params.reader();
    assert_eq!(reader.integer("a", 0..=9), Some(2));
    assert_eq!(reader.integer("top_k", 0..=9), Some(3));
    reader.finish().unwrap();
}

#[test]
fn broken_forms_are_faults() {
    let file = ("name=\"file\"", "", "x");
    let many = vec![("name=\"p\"", "", "1"); 17];
    for (content_type, body, kind, word) in [
        (FORM, form(&[("name=\"image\"", "", "x")]), Kind::InvalidInput, "a field called file"),
        (FORM, form(&[file, file]), Kind::InvalidInput, "two"),
        (FORM, form(&[("name=\"file\"", "", "")]), Kind::InvalidInput, "none"),
        (FORM, form(&[("name=\"file\"", "application/pdf", "x")]), Kind::UnsupportedMedia, "pdf"),
        (FORM, form(&[("name=\"p\"", "", "1"), ("name=\"p\"", "", "1")]), Kind::InvalidInput, "p"),
        (FORM, form(&[("filename=\"x\"", "", "1")]), Kind::InvalidInput, "with a name"),
        (FORM, form(&[file, ("name=\"parameters\"", "", "{")]), Kind::InvalidInput, "too early"),
        (FORM, b"--XX\r\n".to_vec(), Kind::InvalidInput, "the last one ended"),
        (FORM, b"nothing".to_vec(), Kind::InvalidInput, "RFC 7578"),
        ("multipart/form-data", form(&[file]), Kind::InvalidInput, "boundary"),
    ] {
        let problem = read(Some(content_type), &[], &body).unwrap_err();
        assert_eq!(problem.kind, kind, "{problem:?}");
        assert!(format!("{problem:?}").contains(word), "{word}: {problem:?}");
    }
    let distinct: Vec<String> = (0..17).map(|n| format!("name=\"p{n}\"")).collect();
    let distinct: Vec<_> = distinct.iter().map(|name| (name.as_str(), "", "1")).collect();
    assert_eq!(read(Some(FORM), &[], &form(&distinct)).unwrap_err().kind, Kind::TooLarge);
    assert!(read(Some(FORM), &[], &form(&many)).is_err());
}

/// Whatever comes, it is read or refused as the caller's fault, with a short text.
fn never_our_fault(content_type: &str, body: &[u8]) {
    if let Err(problem) = read(Some(content_type), &[], body) {
        assert!(
            matches!(
                problem.kind,
                Kind::InvalidInput
                    | Kind::NotFound
                    | Kind::TooLarge
                    | Kind::UnsupportedMedia
                    | Kind::Undecodable
            ),
            "{problem:?}"
        );
        assert!(problem.detail.len() < 2000, "{problem:?}");
    }
}

/// Text made of what JSON documents of ours are made of, in any order.
fn near_json() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"inputs\"",
        "\"instances\"",
        "\"text\"",
        "\"image\"",
        "\"parameters\"",
        "\"model\"",
        "\"shape\"",
        "\"data\"",
        "\"b64\"",
        "\"x\"",
        "\"AA==\"",
        "1",
        "-1",
        "1e39",
        "1e400",
        "null",
        "true",
        " ",
        "\"",
        "9223372036854775807",
    ]);
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn any_bytes_as_json(body in prop::collection::vec(any::<u8>(), 0..300)) {
        never_our_fault("application/json", &body);
    }

    #[test]
    fn any_tokens_as_json(body in near_json()) {
        never_our_fault("application/json", body.as_bytes());
        never_our_fault("application/json", format!("{{\"inputs\":{body}}}").as_bytes());
        never_our_fault("application/json", format!("{{\"instances\":[{body}]}}").as_bytes());
    }

    #[test]
    fn any_bytes_as_a_form(
        before in prop::collection::vec(any::<u8>(), 0..60),
        after in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        never_our_fault(FORM, &after);
        let mut body = before;
        body.extend_from_slice(b"\r\n--XX\r\nContent-Disposition: form-data; name=\"file\"\r\n");
        body.extend_from_slice(&after);
        never_our_fault(FORM, &body);
        body.extend_from_slice(b"\r\n--XX--\r\n");
        never_our_fault(FORM, &body);
    }

    #[test]
    fn a_tensor_reads_back(rows in 1_usize..4, columns in 1_usize..6, seed in any::<f32>()) {
        let value = if seed.is_finite() { seed } else { 1.0 };
        let row = vec![value; columns];
        let nested = serde_json::to_string(&vec![row; rows]).unwrap();
        let expected = tensor(&[rows, columns], &vec![value; rows * columns]);
        prop_assert_eq!(items(&format!("{{\"inputs\":{nested}}}")), vec![expected]);
    }
}
