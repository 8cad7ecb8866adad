//! The document as a page: plain HTML, without scripts.

use std::fmt::Write;

use serde_json::Value;
use utoipa::openapi::OpenApi;

const HEAD: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>maas</title><style>\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f24}\
h2{margin-top:2.5rem;border-bottom:1px solid #d0d7de}summary{cursor:pointer;padding:.3rem 0}\
code,pre{font-family:ui-monospace,monospace;font-size:.9em}pre{background:#f6f8fa;padding:.8rem;overflow:auto}\
.method{display:inline-block;width:4.5rem;font-weight:600}.get{color:#0550ae}.post{color:#116329}.put{color:#953800}\
.what{color:#57606a}@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}pre{background:#161b22}\
.what{color:#8b949e}.get{color:#79c0ff}.post{color:#7ee787}.put{color:#ffa657}}</style>";

/// Every operation under its tag, and every schema.
pub fn page(document: &OpenApi) -> String {
    let document = serde_json::to_value(document).unwrap_or_default();
    let mut page = HEAD.to_owned();
    // Writing to a String does not fail.
    let _ = write!(
        page,
        "<h1>maas {}</h1><p>{}. As a document: <a href=\"/openapi.json\">/openapi.json</a>.</p>",
        text(&document["info"]["version"]),
        text(&document["info"]["description"])
    );
    let mut tags: Vec<&str> = Vec::new();
    for (_, _, operation) in operations(&document) {
        let tag = operation["tags"][0].as_str().unwrap_or_default();
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    for tag in tags {
        let _ = write!(page, "<h2>{}</h2>", escaped(tag));
        for (path, method, operation) in operations(&document) {
            if operation["tags"][0] == tag {
                page.push_str(&shown(path, method, operation));
            }
        }
    }
    page.push_str("<h2>Schemas</h2>");
    for (name, schema) in document["components"]["schemas"].as_object().into_iter().flatten() {
        let name = escaped(name);
        let _ = write!(page, "<details id=\"{name}\"><summary><code>{name}</code></summary>");
        let _ = write!(page, "<pre>{}</pre></details>", pretty(schema));
    }
    page
}

/// Path, method and operation.
fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    paths.flat_map(|(path, item)| {
        let methods = item.as_object().into_iter().flatten();
        methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

fn shown(path: &str, method: &str, operation: &Value) -> String {
    let mut html = format!(
        "<details><summary><span class=\"method {0}\">{1}</span><code>{2}</code> \
         <span class=\"what\">{3}</span></summary>",
        escaped(method),
        escaped(&method.to_uppercase()),
        escaped(path),
        text(&operation["summary"])
    );
    for (title, part) in [
        ("Parameters", &operation["parameters"]),
        ("Body", &operation["requestBody"]),
        ("Answers", &operation["responses"]),
    ] {
        if !part.is_null() {
            let _ = write!(html, "<h4>{title}</h4><pre>{}</pre>", pretty(part));
        }
    }
    html.push_str("</details>");
    html
}

fn pretty(value: &Value) -> String {
    escaped(&serde_json::to_string_pretty(value).unwrap_or_default())
}

fn text(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}

/// Descriptions of packages are others' texts.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_package_says_is_no_markup() {
        assert_eq!(escaped("<b>\"&\"</b>"), "&lt;b&gt;&quot;&amp;&quot;&lt;/b&gt;");
    }
}
